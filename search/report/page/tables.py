"""The tables of a page: a study's frames in, tables of text out."""

import numpy as np
import pandas as pd

from search.analysis.statistics import wilson
from search.records.arguments import METRICS
from search.records.schema import COLUMNS
from search.report.format import (
    Cell,
    Column,
    Table,
    difference,
    listed,
    metric_name,
    number,
    p_value,
    parameter,
    percent,
    settings_text,
    share,
    text,
    with_interval,
)
from search.space import PAPER_LEVELS

_POOLED = "Scores are pooled over folds, differences are means over folds"


def comparison_tables(comparison: pd.DataFrame, metric: str, reference: str, winner: str | None) -> list[Table]:
    """The levels at their best settings beside the paper's networks, and all at equal settings."""
    tables = []
    for settings, caption in (
        ("tuned", "Each level at its best settings, and the paper's networks at the paper's"),
        ("equal", "All levels at the same settings ({}): what is left of the differences without tuning"),
    ):
        rows = comparison[
            comparison["settings"].eq(settings) | (comparison["settings"].isna() & (settings == "tuned"))
        ]
        if len(rows):
            tables.append(
                Table(
                    name=f"comparison-{settings}",
                    caption=f"{caption.format(settings_text(rows.iloc[0]) or 'there are none')}. {_POOLED}",
                    columns=_comparison_columns(metric, reference),
                    rows=[_comparison_row(row, metric, winner) for _, row in rows.iterrows()],
                )
            )
    return tables


def class_table(predictions: pd.DataFrame, name: str, images: str) -> Table:
    """How each class is recognised.

    Args:
        predictions: of one network, each image once.
        name: of the table's element.
        images: what they are of.
    """
    counts = pd.crosstab(predictions["label"], predictions["predicted"])
    classes = sorted({*counts.index, *counts.columns})
    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
    total, rows = int(counts.to_numpy().sum()), []
    for cell in classes:
        n, right = int(counts.loc[cell].sum()), int(counts.loc[cell, cell])
        negative = total - n
        rejected = negative - (int(counts[cell].sum()) - right)
        wrong = counts.loc[cell].drop(cell)
        mistake = Cell("none")
        if n and wrong.sum():
            most = int(wrong.max())
            often = wrong.index[wrong == most]
            mistake = Cell(f"{listed(often)} ({most}{' each' if len(often) > 1 else ''} of {n})", most / n)
        rows.append(
            (
                text(cell),
                number(n, ",d"),
                with_interval(right, n, wilson(right, n)),
                with_interval(rejected, negative, wilson(rejected, negative)),
                mistake,
            )
        )
    return Table(
        name=name,
        caption=f"How each class is recognised: {images}",
        columns=(
            Column("class", numeric=False),
            Column("images"),
            Column(
                "sensitivity (95 %)", "share of the class's images that are recognised, with Wilson's interval"
            ),
            Column("specificity (95 %)", "share of all other images that are not taken for this class"),
            Column("most often mistaken for"),
        ),
        rows=rows,
    )


def transfer_table(transfer: pd.DataFrame, metric: str) -> Table:
    """The networks on the target, each way of getting there."""
    rows = [
        (
            text(row["level"]),
            text(row["way"].replace("_", "-")),
            share(row["accuracy"]),
            *(share(row[name]) for name in _others("accuracy")),
            difference(row),
            p_value(row["p_holm"]),
        )
        for _, row in transfer.iterrows()
    ]
    return Table(
        name="transfer",
        caption=f"On {transfer['data'].iloc[0]}. Differences are of {metric_name(metric)}. {_POOLED}",
        columns=(
            Column("network", numeric=False),
            Column("way", COLUMNS["way"][1], numeric=False),
            Column("accuracy", COLUMNS["accuracy"][1]),
            *(Column(metric_name(name), COLUMNS[name][1]) for name in _others("accuracy")),
            Column("minus scratch, points (95 %)", "from the same network trained from scratch on the same folds"),
            Column("p Holm"),
        ),
        rows=rows,
    )


def trials_table(trials: pd.DataFrame) -> Table:
    """Every trial of the search, with what became of it."""
    trials = trials.sort_values("number")
    names = [
        name for name in trials.columns if name.startswith("params_") and trials[name].notna().any()
    ]  # of another branch of the space, or of none
    confirmed, failed = (name in trials and trials[name].notna().any() for name in ("confirmed_value", "error"))
    rows = [
        (
            number(row["number"], "d"),
            text(row["level"]),
            text(row["state"]),
            share(row["value"]),
            *((share(row["confirmed_value"]),) if confirmed else ()),
            *(parameter(row[name]) for name in names),
            number(_get(row, "folds_done"), ".0f"),
            number(_get(row, "epochs"), ".0f"),
            number(_get(row, "macs"), ",.1f", 1e-6),
            number(_get(row, "duration_s"), ",.1f"),
            *((text(_get(row, "error")),) if failed else ()),
        )
        for _, row in trials.iterrows()
    ]
    return Table(
        name="trials",
        caption=f"All {len(rows)} trials; those that were stopped early or failed are among them",
        columns=(
            Column("trial"),
            Column("level", numeric=False),
            Column("state", COLUMNS["state"][1], numeric=False),
            Column("value", COLUMNS["value"][1]),
            *((Column("confirmed", COLUMNS["confirmed_value"][1]),) if confirmed else ()),
            *(Column(name.removeprefix("params_"), numeric=_is_numeric(trials[name])) for name in names),
            Column("folds", COLUMNS["folds_done"][1]),
            Column("epochs in all", COLUMNS["epochs"][1]),
            Column("MMACs", "millions of multiply-accumulates of one image's forward pass"),
            Column("s", COLUMNS["duration_s"][1]),
            *((Column("error", COLUMNS["error"][1], numeric=False),) if failed else ()),
        ),
        rows=rows,
        filter="Show only trials that contain",
    )


def _comparison_columns(metric: str, reference: str) -> list[Column]:
    rival = f"minus {reference}, points (95 %)"
    return [
        Column("level", numeric=False),
        Column(metric_name(metric), f"{COLUMNS[metric][1]}; pooled over folds"),
        *(Column(metric_name(name), f"{COLUMNS[name][1]}; pooled over folds") for name in _others(metric)),
        Column(rival, "mean difference over folds, with the variance of folds that overlap"),
        Column("p Holm", COLUMNS["p_holm"][1]),
        Column("p McNemar", COLUMNS["p_mcnemar"][1]),
        Column("better", COLUMNS["p_better"][1]),
        Column("equal", COLUMNS["p_equal"][1]),
        Column("worse", COLUMNS["p_worse"][1]),
        Column("MMACs", "millions of multiply-accumulates of one image's forward pass"),
        Column("M param.", "trainable parameters, millions"),
        Column("ms", COLUMNS["latency_ms"][1]),
    ]


def _comparison_row(row: pd.Series, metric: str, winner: str | None) -> list[Cell]:
    paper = row["level"] in PAPER_LEVELS
    return [
        text(row["level"], strong=row["level"] == winner and not paper),
        share(row[metric]),
        *(share(row[name]) for name in _others(metric)),
        difference(row),
        p_value(row["p_holm"]),
        p_value(row["p_mcnemar"]),
        *(percent(row[name], 0) for name in ("p_better", "p_equal", "p_worse")),
        number(row["macs"], ",.1f", 1e-6),
        number(row["n_parameters"], ",.2f", 1e-6),
        number(row["latency_ms"], ".2f"),
    ]


def _others(metric: str) -> list[str]:
    """The headline metrics beside one."""
    return [name for name in METRICS if name != metric]


def _get(row: pd.Series, name: str) -> object:
    return row.get(name, np.nan)


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
