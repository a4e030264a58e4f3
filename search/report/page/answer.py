"""The answer at the top of a page: the recommended level, what it may lose, what it saves, and the test score."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from search.analysis.recommendation import Recommendation
from search.analysis.statistics import wilson
from search.analysis.verdict import Verdict
from search.analysis.words import level_name, metric_words, p_phrase
from search.data.names import count
from search.records.results import Results
from search.report.format import (
    large,
    metric_name,
    milliseconds,
    missing,
    overall,
    score_text,
    setting_name,
    times,
)
from search.report.page.caveats import FEW_IMAGES

STAGES = ("1", "2", "3")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A difference on a line, over zero and the margin; positions in percent of the line.

    Attributes:
        middle: None for a bound, which has no estimate.
        label: the interval in words.
    """

    low: float
    high: float
    middle: float | None
    zero: float
    margin_low: float
    margin_high: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Stake:
    """What the level may lose or, without a choice of levels, how it differs from the paper's network.

    Attributes:
        line: None where nothing can be judged, or nothing is left to lose to.
    """

    title: str
    big: str
    text: str
    line: Line | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost of the level; `ratio` is to the rival."""

    name: str
    value: str
    ratio: str | None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the level costs, and what that saves.

    Attributes:
        big, text: the saving in multiply-adds and over which rival; None where it saves nothing.
    """

    title: str
    big: str | None
    text: str | None
    costs: Sequence[Cost]


@dataclass(frozen=True, kw_only=True)
class TestScore:
    """The winner's score on the locked test set.

    Attributes:
        few: a warning if the smallest class is small.
        times: how often the set was scored.
    """

    accuracy: str
    interval: str
    n: int
    others: str
    few: str | None
    times: int


@dataclass(frozen=True, kw_only=True)
class Abroad:
    """How networks that were trained on the source alone score another laboratory's images.

    Attributes:
        home: the same score on the source.
        basis: networks and images behind the score.
        adapted: the saved network without and with adapted batch norms; None where there is none.
    """

    data: str
    score: str
    text: str
    home: str
    basis: str
    adapted: str | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The content of the boxes at the top of a page.

    Attributes:
        level: the recommended one; where one level was compared, this one. `name` is for a sentence.
        blocks: stages with a residual block; None if levels are not placements.
        winner: the level and setting with the best estimate, which are scored on the test set.
        is_winner: the level is the winner's.
    """

    title: str
    level: str
    name: str
    blocks: Sequence[str] | None
    metric: str
    score: str
    accuracy: str
    basis: str
    stake: Stake | None
    costs: Costs
    winner: str
    is_winner: bool
    test: TestScore | None
    abroad: Abroad | None


def answer(results: Results, found: Verdict) -> Answer:
    """Gather the answer from a study that has a winner."""
    description, advice = results.description, found.recommendation
    factor, level = description.factor, found.winner if advice is None else advice.level
    row = results.levels[results.levels["level"] == level].iloc[0]
    stages = level.split("+")
    is_placement = factor == "placement" and {*stages} <= {*STAGES, "none"}
    n_folds = len(results.compared("folds", level))
    what = (factor or "network").replace("_", " ")
    return Answer(
        title=what.capitalize() if advice is None else f"{'Use' if advice.is_judged else 'Cheapest'} {what}",
        level=level_name(None, level) if factor is None else level,
        name=level_name(factor, level),
        blocks=[stage for stage in STAGES if stage in stages] if is_placement else None,
        metric=metric_name(description.metric),
        score=f"{overall(results, description.metric)[level]:.3f}",
        accuracy=f"{overall(results, 'accuracy')[level]:.3f}",
        basis=f"On {int(row['n_images']):,} images, over {n_folds} folds of all runs.",
        stake=_to_the_paper(found, description.arguments.margin) if advice is None else _loss(results, advice),
        costs=_costs(results, advice, row),
        winner=f"{level_name(factor, found.winner)} at {setting_name(description, results.winner_row['setting'])}",
        is_winner=level == found.winner,
        test=_test_score(results),
        abroad=_abroad(results, level),
    )


def _loss(results: Results, advice: Recommendation) -> Stake:
    title, metric = "What it may lose", metric_words(results.description.metric)
    factor = results.description.factor
    if advice.loses_at_most is not None:
        bound, to = 100 * max(0.0, advice.loses_at_most), level_name(factor, str(advice.loses_to))
        return Stake(
            title=title,
            big=f"≤ {bound:.1f} points",
            text=f"of {metric}, to {to}, at the upper end of the 95 % interval.",
            line=_line(0.0, bound, None, results.description.arguments.margin, f"from 0 to {bound:.1f} points"),
        )
    if advice.beaten:
        return Stake(title=title, big="nothing", text=f"of {metric}: every other level is ruled out.")
    return Stake(title=title, big="unknown", text="The data are too few to judge any difference.")


def _to_the_paper(found: Verdict, margin: float) -> Stake | None:
    if not found.main:
        return None
    finding = found.main[0]
    text, line = f"of {metric_words(finding.metric)}", None
    if finding.outcome is not None:
        low, middle, high = (100 * value for value in (finding.low, finding.estimate, finding.high))
        text += f", 95 % interval {finding.interval}, {p_phrase(finding.p)}: {finding.outcome}"
        line = _line(low, high, middle, margin, f"{finding.interval} points")
    big = f"{finding.text(finding.estimate)} points"
    return Stake(title="Against the paper's plain network", big=big, text=text, line=line)


def _line(low: float, high: float, middle: float | None, margin: float, label: str) -> Line:
    """An interval in points, with zero, the margin and some space on both sides."""
    start, end = min(low, -margin), max(high, margin)
    space = 0.06 * (end - start)

    def place(points: float) -> float:
        return round(100 * (points - start + space) / (end - start + 2 * space), 2)

    return Line(
        low=place(low),
        high=place(high),
        middle=None if middle is None else place(middle),
        zero=place(0),
        margin_low=place(-margin),
        margin_high=place(margin),
        label=label,
    )


def _costs(results: Results, advice: Recommendation | None, row: pd.Series) -> Costs:
    """Costs next to those of the level with the best estimate or, if that is the same, of the dearest rival."""
    levels, factor = results.levels.set_index("level"), results.description.factor
    rival, why = None, ""
    if advice is not None and advice.best != advice.level:
        rival, why = advice.best, "which has the best estimate"
    elif advice is not None and len(advice.rivals) > 1:
        rival, why = str(levels["macs"][list(advice.rivals)].idxmax()), "the dearest that is not ruled out"
    columns = (
        ("multiply-adds per image", "macs", large),
        ("parameters", "n_parameters", large),
        ("time per image", "latency_ms", milliseconds),
    )
    costs = [
        Cost(
            name=name,
            value=in_words(row[column]),
            ratio=_ratio(row[column], rival, levels[column]),
        )
        for name, column, in_words in columns
        if not missing(row[column])
    ]
    saved = 0.0 if rival is None else 1 - row["macs"] / levels["macs"][rival]
    if saved < 0.005:
        return Costs(title="What it costs", big=None, text=None, costs=costs)
    text = f"fewer multiply-adds than {level_name(factor, str(rival))}, {why}"
    return Costs(
        title="What it saves", big=f"{100 * saved:.{0 if saved < 0.995 else 1}f} %", text=text, costs=costs
    )


def _ratio(value: float, rival: str | None, costs: pd.Series) -> str | None:
    if rival is None or missing(costs[rival]) or costs[rival] == 0:  # a system without a network has no parameters
        return None
    return f"{times(value, costs[rival])} {rival}"


def _abroad(results: Results, level: str) -> Abroad | None:
    rows, metric = results.untouched, results.description.metric
    rows = rows[rows["level"] == level]
    if rows.empty:
        return None
    row, words, adapted = rows.iloc[0], metric_words(metric), None
    saved = {own["way"]: score_text(own, metric) for _, own in results.saved_untouched.iterrows()}
    if "untouched_adapted" in saved:
        before, after = saved["untouched"], saved["untouched_adapted"]
        saved_level = level_name(results.description.factor, str(results.winner))
        adapted = (
            f"The saved network, {saved_level}: {before}; with its batch norms adapted to these images, without "
            f"their labels: {after}."
        )
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    return Abroad(
        data=str(row["data"]),
        score=f"{row[f'{metric}_mean']:.3f}",
        text=f"{words} on {row['data']}, 95 % interval {low:.3f} to {high:.3f}",
        home=f"{overall(results, metric)[level]:.3f} on {results.description.source[0]}, in the comparison",
        basis=f"{row['n_networks']:.0f} networks of the comparison as they are, on {row['n_images']:,.0f} images.",
        adapted=adapted,
    )


def _test_score(results: Results) -> TestScore | None:
    scores, rows = results.description.test, results.tested()
    if scores is None or rows.empty:
        return None
    counts, few = rows["label"].value_counts(), None
    if counts.min() < FEW_IMAGES:
        few = f"balanced accuracy depends on the {count(counts.min(), 'image')} of class {counts.idxmin()}"
    low, high = wilson(int((rows["label"] == rows["predicted"]).sum()), len(rows))
    return TestScore(
        accuracy=f"{scores['accuracy']:.3f}",
        interval=f"{low:.3f} to {high:.3f}",
        n=len(rows),
        others=f"balanced accuracy {scores['balanced_accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}",
        few=few,
        times=results.description.test_scored,
    )
