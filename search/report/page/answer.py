"""The answer at the top of a page: the winner, how sure its lead is, its costs, and its test score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from search.analysis.statistics import wilson
from search.analysis.verdict import Finding, Verdict, level_name, nearest_rival, p_text, signed
from search.records.results import Results
from search.records.schema import Settings
from search.report.format import large, metric_name, milliseconds, missing, times
from search.report.page.caveats import FEW_IMAGES

STAGES = ("1", "2", "3")


@dataclass(frozen=True, kw_only=True)
class Chance:
    """A part of the bar of probabilities; start and width in percent of the bar."""

    name: str
    start: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Span:
    """A difference on a line of points; positions in percent of the line."""

    low: float
    high: float
    middle: float
    zero: float
    equal_low: float
    equal_high: float


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The winner's lead over the reference or, if the reference won, over the nearest other level.

    Attributes:
        interval, p, span: None for a single fold.
    """

    outcome: str
    points: str
    interval: str | None
    p: str | None
    rival: str
    chances: Sequence[Chance]
    span: Span | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost of the winner; `ratio` is to the reference."""

    name: str
    value: str
    ratio: str | None


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
class Answer:
    """The content of the boxes at the top of a page.

    Attributes:
        blocks: stages with a residual block; None if levels are not placements.
        lead: None if the winner has no rival.
    """

    winner: str
    metric: str
    score: str
    accuracy: str
    n_images: int
    n_folds: int
    blocks: Sequence[str] | None
    reference: str
    lead: Lead | None
    costs: Sequence[Cost]
    test: TestScore | None


def answer(results: Results, found: Verdict) -> Answer:
    """Gather the answer from a study that has a winner."""
    description, row = results.description, results.winner_row
    factor, reference, stages = description.factor, description.reference, found.winner.split("+")
    rivals = pd.concat([results.tuned, results.paper])
    rivals = rivals[(rivals["level"] == reference) & (reference != found.winner)]
    is_placement = factor == "placement" and {*stages} <= {*STAGES, "none"}
    return Answer(
        winner=level_name(None, found.winner) if factor is None else found.winner,
        metric=metric_name(description.metric),
        score=f"{row[description.metric]:.3f}",
        accuracy=f"{row['accuracy']:.3f}",
        n_images=int(row["n_images"]),
        n_folds=results.compared("folds", found.winner)["fold"].nunique(),
        blocks=[stage for stage in STAGES if stage in stages] if is_placement else None,
        reference=level_name(factor, reference),
        lead=_lead(found, factor),
        costs=_costs(row, None if rivals.empty else rivals.iloc[0]),
        test=_test_score(results),
    )


def _lead(found: Verdict, factor: str | None) -> Lead | None:
    own = [f for f in found.findings if f.settings == Settings.TUNED and f.level == found.winner]
    if own:
        finding, rival = own[0], own[0].reference
    elif (nearest := nearest_rival(found.findings)) is not None and nearest.reference == found.winner:
        finding, rival = _reversed(nearest), nearest.level
    else:
        return None
    shares = {"better": finding.p_better, "equal": finding.p_equal, "worse": finding.p_worse}
    chances, start = [], 0.0
    for name, share in shares.items():
        if not missing(share):
            chances.append(Chance(name=name, start=start, width=100 * share))
            start += 100 * share
    has_interval = not missing(finding.low)
    return Lead(
        outcome="not settled" if finding.outcome == "not settled" else "settled",
        points=signed(finding.points),
        interval=f"{signed(finding.low)} to {signed(finding.high)}" if has_interval else None,
        p=None if missing(finding.p_holm) else _p(finding.p_holm),
        rival=level_name(factor, rival),
        chances=chances,
        span=_span(finding) if has_interval else None,
    )


def _p(p: float) -> str:
    """As in p = 0.20, without a line break."""
    text = p_text(p)
    return f"p {'' if '<' in text else '= '}{text}".replace(" ", "\N{NO-BREAK SPACE}")


def _reversed(finding: Finding) -> Finding:
    """The same difference, from the reference's point of view."""
    return replace(
        finding,
        points=-finding.points,
        low=-finding.high,
        high=-finding.low,
        p_better=finding.p_worse,
        p_worse=finding.p_better,
    )


def _span(finding: Finding) -> Span:
    """The interval, zero and the region of practical equivalence, with a margin on both sides."""
    low, high = min(finding.low, -1.0), max(finding.high, 1.0)
    margin = 0.06 * (high - low)
    start, length = low - margin, high - low + 2 * margin

    def place(points: float) -> float:
        return round(100 * (points - start) / length, 2)

    return Span(
        low=place(finding.low),
        high=place(finding.high),
        middle=place(finding.points),
        zero=place(0),
        equal_low=place(-1),
        equal_high=place(1),
    )


def _costs(row: pd.Series, rival: pd.Series | None) -> list[Cost]:
    columns = (
        ("multiply-adds per image", "macs", large),
        ("parameters", "n_parameters", large),
        ("time per image", "latency_ms", milliseconds),
    )
    return [
        Cost(
            name=name,
            value=in_words(row[column]),
            ratio=None if rival is None or missing(rival[column]) else times(row[column], rival[column]),
        )
        for name, column, in_words in columns
        if not missing(row[column])
    ]


def _test_score(results: Results) -> TestScore | None:
    scores, rows = results.description.test, results.tested()
    if scores is None or rows.empty:
        return None
    counts, few = rows["label"].value_counts(), None
    if counts.min() < FEW_IMAGES:
        few = f"balanced accuracy depends on the {counts.min()} images of class {counts.idxmin()}"
    low, high = wilson(int((rows["label"] == rows["predicted"]).sum()), len(rows))
    return TestScore(
        accuracy=f"{scores['accuracy']:.3f}",
        interval=f"{low:.3f} to {high:.3f}",
        n=len(rows),
        others=f"balanced accuracy {scores['balanced_accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}",
        few=few,
        times=results.description.test_scored,
    )
