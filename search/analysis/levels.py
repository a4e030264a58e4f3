"""The analysis of a comparison: its contrasts, its best configuration, and the level that it recommends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from search.analysis.comparison import Judged, Row, by_setting, judge
from search.analysis.contrasts import image_mean
from search.analysis.families import Contrast, interactions, main_family
from search.analysis.gathering import Gathered, gather
from search.analysis.measures import MEASURES, Measure, measures_for
from search.analysis.outcome import Outcome
from search.analysis.recommendation import Recommendation, recommend
from search.analysis.twoway import shrunken
from search.space import CONTROL_LEVEL, PAPER_LEVELS

PLAIN_LEVEL = PAPER_LEVELS[0]
WAYS = ("scratch", "frozen", "fine_tuned")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a comparison asks.

    Attributes:
        levels: of the factor, in order.
        effects: name -> levels that have it.
        metric: that decides.
        margin: largest difference that does not matter, as a fraction.
        classes: of the data set, in the order of their numbers.
        groups: image -> group; None if every image is its own.
        looks: number of runs at every planned look.
    """

    levels: Sequence[str]
    reference: str
    effects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metric: str
    margin: float
    classes: Sequence[str]
    groups: Mapping[str, str] | None = None
    looks: Sequence[int] = (1,)


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a comparison shows.

    Attributes:
        rows: of the effects table, without phase and data.
        estimates: (level, setting) -> the metric, see `search.analysis.twoway`.
        best: level and setting of the best estimate.
        recommendation: None where only one level was compared.
        settled: every contrast of the family that decides is judged, and none is open.
        missing: levels that did not finish all runs.
    """

    rows: Sequence[Row]
    estimates: Mapping[tuple[str, int], float]
    best: tuple[str, int]
    recommendation: Recommendation | None
    settled: bool
    missing: Sequence[str]


def analyse(
    predictions: pd.DataFrame, question: Question, macs: Mapping[tuple[str, int], float]
) -> Analysis | None:
    """Analyse a comparison.

    Args:
        predictions: rows of the predictions table, of the comparison.
        macs: (level, setting) -> cost.
    Returns:
        None if no level finished all runs.
    """
    predictions = predictions[predictions["fold"].notna()]
    gathered = gather(predictions, [*question.levels, CONTROL_LEVEL], question.classes, question.groups)
    if gathered is None:
        return None
    levels = [level for level in gathered.levels if level != CONTROL_LEVEL]
    measures = measures_for(question.metric)
    estimates = _estimates(gathered, levels, measures[0])
    best = max(estimates, key=lambda cell: estimates[cell])
    also = [level for level in gathered.levels if level == CONTROL_LEVEL]
    contrasts = main_family(levels, question.reference, question.effects, also)
    families = [_judged(gathered, contrasts, measure, question) for measure in measures] if contrasts else []
    crossed = _padded(interactions(levels, question.effects), len(gathered.levels))
    dependent = [_judged(gathered, crossed, measure, question) for measure in measures] if crossed else []
    rows = [row for family in (*families, *dependent) for row in family.rows()]
    rows += by_setting(gathered, contrasts, measures[0]) if contrasts else []
    rows += _paper_rows(predictions, levels, gathered.runs[0], question)
    recommendation = None
    if families and len(levels) > 1:
        recommendation = recommend(
            gathered,
            families[0],
            dependent[0] if dependent else None,
            families[1:],
            levels=levels,
            effects=question.effects,
            best=best[0],
            macs={level: macs[level, best[1]] for level in levels},
        )
    return Analysis(
        rows=rows,
        estimates=estimates,
        best=best,
        recommendation=recommendation,
        settled=all(row.get("outcome") not in (None, Outcome.OPEN) for row in _main_rows(families)),
        missing=[level for level in question.levels if level not in levels],
    )


def analyse_transfer(predictions: pd.DataFrame, question: Question) -> list[Row]:
    """Contrasts of a transfer: each network's ways, and the fine-tuned networks.

    Args:
        predictions: rows of the predictions table, of the transfer.
        question: its metric, margin and classes count.
    Returns:
        Rows of the effects table, without phase and data. A way is compared with training from scratch, a
        fine-tuned network with the paper's plain one; each network's ways are a family, and so are the networks.
    """
    rows: list[Row] = []
    for level, own in predictions.groupby("level", sort=False):
        setting = own["setting"].iloc[0]
        key = {"level": level, "setting": None if pd.isna(setting) else int(setting)}
        for row in _pairs(own.assign(level=own["way"]), WAYS, "scratch", question):
            rows.append({**row, **key, "way": row["level"]})
    tuned = predictions[predictions["way"] == "fine_tuned"].assign(setting=0)
    levels = [str(level) for level in tuned["level"].unique()]
    return rows + [{**row, "way": "fine_tuned"} for row in _pairs(tuned, levels, PLAIN_LEVEL, question)]


def _pairs(predictions: pd.DataFrame, levels: Sequence[str], reference: str, question: Question) -> list[Row]:
    """Every level against a reference, by the metric that decides and by accuracy, after all runs."""
    gathered = gather(predictions, levels, question.classes, question.groups)
    if gathered is None or reference not in gathered.levels or len(gathered.levels) < 2:
        return []
    contrasts = main_family(gathered.levels, reference, {})
    looks = (len(gathered.runs),)
    measures = [MEASURES[name] for name in dict.fromkeys((question.metric, "accuracy"))]
    return [row for m in measures for row in judge(gathered, contrasts, m, question.margin, looks).rows()]


def _main_rows(families: Sequence[Judged]) -> list[Row]:
    return families[0].rows() if families else []


def _judged(gathered: Gathered, contrasts: Sequence[Contrast], measure: Measure, question: Question) -> Judged:
    n_runs, looks = len(gathered.runs), tuple(question.looks)
    # A study that was extended is looked at more often than it planned.
    return judge(gathered, contrasts, measure, question.margin, looks if n_runs <= looks[-1] else (*looks, n_runs))


def _estimates(gathered: Gathered, levels: Sequence[str], measure: Measure) -> dict[tuple[str, int], float]:
    """Every level at every setting; the noise of a cell is that of its images, training included."""
    scores = gathered.scores(measure)
    numbers = [int(number) for number in np.unique(gathered.settings)]
    places = [gathered.levels.index(level) for level in levels]
    cells = np.stack([scores.values[gathered.settings == number].mean(0)[places] for number in numbers], axis=1)
    rest = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean((0, 1))
    values, _ = image_mean(cells, scores)
    _, noise = image_mean(rest, scores)
    table = shrunken(values, float(noise.mean()))
    return {
        (level, number): float(table[i, j]) for i, level in enumerate(levels) for j, number in enumerate(numbers)
    }


def _padded(contrasts: Sequence[Contrast], n_levels: int) -> list[Contrast]:
    """Contrasts of the first levels as contrasts of more levels."""
    return [
        replace(contrast, weights=np.pad(contrast.weights, (0, n_levels - len(contrast.weights))))
        for contrast in contrasts
    ]


def _paper_rows(
    predictions: pd.DataFrame, levels: Sequence[str], run: tuple[int, int], question: Question
) -> list[Row]:
    """The levels and the paper's WBCsNet-2 against the paper's plain network, in the first run."""
    setting, repeat = run
    own = predictions["level"].isin(levels) & (predictions["setting"] == setting)
    paper = predictions["level"].isin(PAPER_LEVELS)
    first = predictions[(own | paper) & (predictions["repeat"] == repeat)].assign(setting=setting)
    return _pairs(first, [*levels, *PAPER_LEVELS], PLAIN_LEVEL, question)
