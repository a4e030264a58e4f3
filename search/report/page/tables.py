"""The tables of a page, from those of a study."""

import pandas as pd

from search.analysis.statistics import wilson
from search.records.arguments import METRICS
from search.records.results import Results
from search.records.schema import COLUMNS, Settings
from search.report.format import listed, metric_name, settings_text
from search.report.page.table import (
    Column,
    Entry,
    Table,
    difference,
    number,
    p_value,
    parameter,
    percent,
    share,
    text,
    with_interval,
)

_POOLED = "Scores are pooled over folds, differences are means over folds"
_MMACS = Column("MMACs", "millions of multiply-accumulates of one image's forward pass")


def comparison_tables(results: Results) -> list[Table]:
    """The levels at their best settings with the paper's networks, and the levels at equal settings."""
    metric = results.description.metric
    columns = [
        Column("level", numeric=False),
        *(Column(metric_name(name), f"{COLUMNS[name][1]}; pooled over folds") for name in _headline(metric)),
        Column(
            f"minus {results.description.reference}, points (95 %)",
            "mean difference over folds; the interval allows for overlapping training sets",
        ),
        Column("p (Holm)", COLUMNS["p_holm"][1]),
        Column("p (McNemar)", COLUMNS["p_mcnemar"][1]),
        Column("better", COLUMNS["p_better"][1]),
        Column("equal", COLUMNS["p_equal"][1]),
        Column("worse", COLUMNS["p_worse"][1]),
        _MMACS,
        Column("M param.", "trainable parameters, millions"),
        Column("ms", COLUMNS["latency_ms"][1]),
    ]
    captions = {
        Settings.TUNED: "Each level at its best settings, and the paper's networks at the paper's",
        Settings.EQUAL: "All levels at the same settings ({}): the differences without tuning",
    }
    return [
        Table(
            name=f"comparison-{settings}",
            caption=f"{captions[settings].format(settings_text(rows.iloc[0]) or 'none')}. {_POOLED}",
            columns=columns,
            rows=[_comparison_row(row, metric, results.winner) for _, row in rows.iterrows()],
        )
        for settings, rows in results.families()
    ]


def _comparison_row(row: pd.Series, metric: str, winner: str | None) -> list[Entry]:
    return [
        text(row["level"], strong=row["level"] == winner),
        *(share(row[name]) for name in _headline(metric)),
        difference(row),
        p_value(row["p_holm"]),
        p_value(row["p_mcnemar"]),
        *(percent(row[name]) for name in ("p_better", "p_equal", "p_worse")),
        number(row["macs"], ",.1f", 1e-6),
        number(row["n_parameters"], ",.2f", 1e-6),
        number(row["latency_ms"], ".2f"),
    ]


def class_table(predictions: pd.DataFrame, name: str, images: str) -> Table:
    """How well each class is recognised.

    Args:
        predictions: rows of the predictions table, of one network and each image once.
        name: of the table's HTML element.
        images: in words, for the caption.
    """
    counts = pd.crosstab(predictions["label"], predictions["predicted"])
    classes = sorted({*counts.index, *counts.columns})
    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
    total = len(predictions)
    return Table(
        name=name,
        caption=f"How well each class is recognised {images}",
        columns=(
            Column("class", numeric=False),
            Column("images"),
            Column(
                "sensitivity (95 %)", "share of the class's images that are recognised, with Wilson's interval"
            ),
            Column("specificity (95 %)", "share of all other images that are not taken for this class"),
            Column("most often mistaken for"),
        ),
        rows=[_class_row(str(label), row, int(counts[label].sum()), total) for label, row in counts.iterrows()],
    )


def _class_row(label: str, predicted: pd.Series, n_predicted: int, n_total: int) -> list[Entry]:
    """A class's row.

    Args:
        predicted: number of the class's images by predicted class.
        n_predicted: images of all classes that are taken for this one.
    """
    n, right = int(predicted.sum()), int(predicted[label])
    n_others = n_total - n
    rejected = n_others - (n_predicted - right)
    wrong = predicted.drop(label)
    mistake = Entry("none")
    if n > right:
        most = int(wrong.max())
        names = wrong.index[wrong == most]
        mistake = Entry(f"{listed(names)} ({most}{' each' if len(names) > 1 else ''} of {n})", most / n)
    return [
        text(label),
        number(n, ",d"),
        with_interval(right, n, wilson(right, n)),
        with_interval(rejected, n_others, wilson(rejected, n_others)),
        mistake,
    ]


def transfer_table(transfer: pd.DataFrame, metric: str) -> Table:
    """The networks on the target, each way."""
    scores = _headline("accuracy")
    return Table(
        name="transfer",
        caption=f"On {transfer['data'].iloc[0]}. Differences are of {metric_name(metric)}. {_POOLED}",
        columns=(
            Column("network", numeric=False),
            Column("way", COLUMNS["way"][1], numeric=False),
            *(Column(metric_name(name), COLUMNS[name][1]) for name in scores),
            Column("minus scratch, points (95 %)", "from the same network trained from scratch on the same folds"),
            Column("p (Holm)"),
        ),
        rows=[
            (
                text(row["level"]),
                text(row["way"].replace("_", "-")),
                *(share(row[name]) for name in scores),
                difference(row),
                p_value(row["p_holm"]),
            )
            for _, row in transfer.iterrows()
        ],
    )


def trials_table(trials: pd.DataFrame) -> Table:
    """Every trial of the search; columns that have no value in any of them are left out."""
    trials = trials.sort_values("number")
    parameters = [name for name in trials.columns if name.startswith("params_") and trials[name].notna().any()]
    confirmed, failed = (trials[name].notna().any() for name in ("confirmed_value", "error"))
    return Table(
        name="trials",
        caption=f"All {len(trials)} trials, including those that were pruned or failed",
        columns=(
            Column("trial"),
            Column("level", numeric=False),
            Column("state", COLUMNS["state"][1], numeric=False),
            Column("value", COLUMNS["value"][1]),
            *((Column("confirmed", COLUMNS["confirmed_value"][1]),) if confirmed else ()),
            *(Column(name.removeprefix("params_"), numeric=_is_numeric(trials[name])) for name in parameters),
            Column("folds", COLUMNS["folds_done"][1]),
            Column("epochs in total", COLUMNS["epochs"][1]),
            _MMACS,
            Column("s", COLUMNS["duration_s"][1]),
            *((Column("error", COLUMNS["error"][1], numeric=False),) if failed else ()),
        ),
        rows=[
            (
                number(row["number"], "d"),
                text(row["level"]),
                text(row["state"]),
                share(row["value"]),
                *((share(row["confirmed_value"]),) if confirmed else ()),
                *(parameter(row[name]) for name in parameters),
                number(row["folds_done"], ".0f"),
                number(row["epochs"], ".0f"),
                number(row["macs"], ",.1f", 1e-6),
                number(row["duration_s"], ",.1f"),
                *((text(row["error"]),) if failed else ()),
            )
            for _, row in trials.iterrows()
        ],
        filter="Show only trials that contain",
    )


def _headline(first: str) -> list[str]:
    """The headline metrics, one of them first."""
    return [first, *(name for name in METRICS if name != first)]


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
