"""The tables of a page, from those of a study and from its verdict."""

from collections.abc import Sequence

import pandas as pd

from search.analysis.collapse import collapsed_folds
from search.analysis.statistics import wilson
from search.analysis.verdict import Finding, Verdict, reason_words
from search.records.arguments import METRICS, SCORES, SHIFT_SCORE
from search.records.results import Results
from search.records.schema import COLUMNS, Phase
from search.report.format import at_home, listed, metric_name, missing, overall, score_text, setting_name, way_name
from search.report.page.table import (
    EMPTY,
    Column,
    Entry,
    Table,
    estimate,
    gain,
    number,
    p_value,
    parameter,
    percent,
    share,
    text,
    with_interval,
)

_MMACS = Column("MMACs", "millions of multiply-accumulates of one image's forward pass")
_MS = Column("ms", COLUMNS["latency_ms"][1])
_P = Column("p", COLUMNS["p"][1])
_OUTCOME = Column("outcome", COLUMNS["outcome"][1], numeric=False)


def why_table(results: Results, found: Verdict) -> list[Table]:
    """Why a level is recommended: all that are not ruled out, cheapest first, and what rules out the others."""
    advice, metric = found.recommendation, results.description.metric
    if advice is None or not advice.is_judged:
        return []
    levels, whole = results.levels.set_index("level"), overall(results, metric)
    reasons = dict.fromkeys(advice.rivals, "not shown to be worse, but dearer")
    reasons[advice.level] = "the cheapest that is not shown to be worse"
    reasons |= {
        level: f"ruled out: {reason_words(results.description.factor, what)}"
        for level, what in advice.beaten.items()
    }
    columns = (
        Column("level", numeric=False),
        Column("why", numeric=False),
        Column(metric_name(metric)),
        _MMACS,
        _MS,
    )
    rows = [
        (
            text(level, strong=level == advice.level),
            text(reason),
            share(whole[level]),
            number(levels["macs"][level], ",.2f", 1e-6),
            number(levels["latency_ms"][level], ".2f"),
        )
        for level, reason in reasons.items()
    ]
    caption = f"Why {advice.level}, and not another level"
    return [Table(name="why", caption=caption, columns=columns, rows=rows, level_column=0)]


def effects_table(
    name: str, caption: str, findings: Sequence[Finding], results: Results, by_setting: Sequence[Finding] = ()
) -> Table:
    """A family of contrasts by one metric.

    Args:
        name: of the table's HTML element.
        by_setting: estimates of the same contrasts at single settings, one column each.
    """
    at = {(finding.contrast, finding.setting): finding for finding in by_setting}
    settings = sorted({finding.setting for finding in by_setting if finding.setting is not None})
    margin = f"{results.description.arguments.margin:g} points"
    unit = "points" if findings[0].in_points else "difference"
    return Table(
        name=name,
        caption=caption,
        columns=(
            Column("contrast", COLUMNS["contrast"][1], numeric=False),
            Column(unit, COLUMNS["estimate"][1]),
            Column("95 % interval", "holds for all contrasts of this table at once"),
            _P,
            _OUTCOME,
            Column("gains at most", "upper end of the interval"),
            Column("better", f"probability of a true difference above {margin}"),
            Column("same", f"probability of a true difference within {margin}"),
            Column("worse", f"probability of a true difference below minus {margin}"),
            *(
                Column(f"at {setting_name(results.description, n)}", "estimate at this setting alone")
                for n in settings
            ),
        ),
        rows=[
            (
                text(finding.contrast),
                estimate(finding),
                Entry(finding.interval, finding.low) if finding.interval else EMPTY,
                p_value(finding.p),
                text(finding.outcome),
                gain(finding),
                *(percent(value) for value in (finding.p_better, finding.p_equal, finding.p_worse)),
                *(estimate(at.get((finding.contrast, n))) for n in settings),
            )
            for finding in findings
        ],
    )


def levels_table(results: Results, recommended: str | None) -> Table:
    """Scores and costs of the levels and of the paper's networks."""
    description = results.description
    metric, (first, *others) = metric_name(description.metric), _headline(description.metric)
    predictions = results.tables["predictions"]
    collapsed = collapsed_folds(predictions[predictions["phase"] == Phase.COMPARE])
    at = {(row["level"], int(row["setting"])): row[first] for _, row in results.at_settings.iterrows()}
    settings = sorted({setting for _, setting in at})
    flatters = not description.is_older and len(settings) > 1
    whole = overall(results, first)

    def at_setting(level: str, setting: int) -> Entry:
        entry, folds = share(at.get((level, setting))), collapsed.get((level, setting))
        return Entry(f"{entry.text} (collapsed in {folds} folds)", entry.order) if folds else entry

    of_paper = "" if results.paper.empty else ". The paper's networks have settings of their own"

    def best(row: pd.Series) -> Entry:
        name = "" if missing(row["best_setting"]) else f" ({setting_name(description, row['best_setting'])})"
        return Entry(f"{share(row['best_value']).text}{name}", row["best_value"]) if name else EMPTY

    return Table(
        name="levels",
        caption=f"Levels: {metric} over all settings and at each{of_paper}",
        columns=(
            Column("level", numeric=False),
            Column(f"{metric}, all settings", COLUMNS[first][1]),
            *(
                Column(setting_name(description, n), f"{metric} at this setting")
                for n in settings
                if len(settings) > 1
            ),
            *((Column("best of these (flatters)", COLUMNS["best_value"][1]),) if flatters else ()),
            *(Column(metric_name(name), COLUMNS[name][1]) for name in others),
            _MMACS,
            Column("M param.", "trainable parameters, millions"),
            _MS,
        ),
        rows=[
            (
                text(row["level"], strong=row["level"] == recommended),
                share(whole.get(row["level"], row[first])),  # the paper's networks are not in it
                *(at_setting(row["level"], n) for n in settings if len(settings) > 1),
                *((best(row),) if flatters else ()),
                *(share(row[name]) for name in others),
                number(row["macs"], ",.2f", 1e-6),
                number(row["n_parameters"], ",.2f", 1e-6),
                number(row["latency_ms"], ".2f"),
            )
            for _, row in pd.concat([results.levels, results.paper]).iterrows()
        ],
        level_column=0,
    )


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


def transfer_tables(results: Results, found: Verdict | None) -> list[Table]:
    """The networks on the target, each way, and the fine-tuned ones against the paper's plain network."""
    transfer, metric = results.transfer, results.description.metric
    if transfer.empty:
        return []
    scores, name = _headline("accuracy"), metric_name(metric)
    findings = [f for f in (found.transfer if found else ()) if f.metric == metric]
    by_way = {(f.level, f.way): f for f in findings if f.contrast.endswith("− scratch")}
    against_plain = [f for f in findings if f not in by_way.values()]
    rows = []
    for _, row in transfer.iterrows():
        finding = by_way.get((row["level"], row["way"]))
        rows.append(
            (
                text(row["level"]),
                text(way_name(row["way"])),
                *(share(row[score]) for score in scores),
                estimate(finding, interval=True),
                EMPTY if finding is None else p_value(finding.p),
                EMPTY if finding is None else text(finding.outcome),
            )
        )
    ways = Table(
        name="transfer",
        caption=f"On {transfer['data'].iloc[0]}. Scores are pooled over folds; differences are of {name}",
        columns=(
            Column("network", numeric=False),
            Column("way", COLUMNS["way"][1], numeric=False),
            *(Column(metric_name(score), COLUMNS[score][1]) for score in scores),
            Column("minus scratch, points (95 %)", "from the same network trained from scratch on the same folds"),
            _P,
            _OUTCOME,
        ),
        rows=rows,
        level_column=0,
    )
    if not against_plain:
        return [ways]
    caption = f"Fine-tuned networks against the paper's plain one, by {name}"
    return [ways, effects_table("transfer-plain", caption, against_plain, results)]


def untouched_tables(results: Results) -> list[Table]:
    """How networks that were trained on the source alone score the target and further laboratories."""
    saved = [(f"the saved network, {way_name(row['way'])}", row) for _, row in results.saved_untouched.iterrows()]
    laboratories = [("untouched", results.untouched, saved)]
    laboratories += [
        (f"shift-{number}", rows, [])
        for number, (_, rows) in enumerate(results.shift.groupby("data", sort=False), start=1)
    ]
    return [_elsewhere_table(name, rows, more, results) for name, rows, more in laboratories if len(rows)]


def _elsewhere_table(
    name: str, rows: pd.DataFrame, more: Sequence[tuple[str, pd.Series]], results: Results
) -> Table:
    """Networks on another laboratory as they are.

    Args:
        rows: of the table transfer or shift, one for each level.
        more: further rows of this table, with their names.
    """
    metric = results.description.metric
    scores = [name for name in _headline(metric) if name in METRICS]  # which have intervals
    home = at_home(results, metric)
    of_levels = [(str(row["level"]), row) for _, row in rows.iterrows()]
    target, source = rows["data"].iloc[0], results.description.source[0]
    return Table(
        name=name,
        caption=f"On {target} as they are: networks that were trained on {source} alone",
        columns=(
            Column("networks of", numeric=False),
            Column("number", COLUMNS["n_networks"][1]),
            Column("images", "of the classes that both data sets have"),
            *(
                Column(
                    f"{metric_name(score)} (95 %)",
                    "mean over networks; the interval is over networks and images, of one network over images",
                )
                for score in scores
            ),
            Column(f"{metric_name(metric)} at home", f"on {source}, from the comparison"),
        ),
        rows=[
            (
                text(name),
                number(row["n_networks"], ".0f"),
                number(row["n_images"], ",.0f"),
                *(Entry(score_text(row, score), float(row[score])) for score in scores),
                share(home.get(name)),
            )
            for name, row in (*of_levels, *more)
        ],
        level_column=0,
    )


def trials_table(trials: pd.DataFrame) -> Table:
    """Every trial of the search; columns that have no value in any of them are left out."""
    trials = trials.sort_values("number")
    parameters = [name for name in trials.columns if name.startswith("params_") and trials[name].notna().any()]
    shared, confirmed, elsewhere, failed = (
        trials[name].notna().any() for name in ("setting", "confirmed_value", SHIFT_SCORE, "error")
    )
    return Table(
        name="trials",
        caption=f"All {len(trials)} trials, including those that were pruned or failed",
        columns=(
            Column("trial"),
            *((Column("setting", "the same number is the same setting"),) if shared else ()),
            Column("level", numeric=False),
            Column("state", COLUMNS["state"][1], numeric=False),
            Column("value", COLUMNS["value"][1]),
            *((Column("confirmed", COLUMNS["confirmed_value"][1]),) if confirmed else ()),
            *((Column("elsewhere", COLUMNS[SHIFT_SCORE][1]),) if elsewhere else ()),
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
                *((number(row["setting"], ".0f"),) if shared else ()),
                text(row["level"]),
                text(row["state"]),
                share(row["value"]),
                *((share(row["confirmed_value"]),) if confirmed else ()),
                *((share(row[SHIFT_SCORE]),) if elsewhere else ()),
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
        level_column=2 if shared else 1,
    )


def _headline(first: str) -> list[str]:
    """The headline metrics, one of them first."""
    return [first, *(name for name in SCORES if name != first)]


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
