"""The first screen: which level won, how sure that is, what it costs, and its score on the locked test set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from search.analysis.statistics import wilson
from search.analysis.verdict import Finding, Verdict, level_name, nearest_rival, p_text, signed
from search.records.results import Results
from search.report.format import large, metric_name, milliseconds, missing, times
from search.report.page.caveats import FEW_IMAGES

STAGES = ("1", "2", "3")


@dataclass(frozen=True, kw_only=True)
class Chance:
    """A part of the bar of probabilities; start and width in percent of it."""

    name: str
    start: float
    width: float

    @property
    def percent(self) -> str:
        """As text."""
        return f"{self.width:.0f} %"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A difference on a line of points: positions in percent of the line's width."""

    low: float
    high: float
    middle: float
    zero: float
    equal_low: float
    equal_high: float


@dataclass(frozen=True, kw_only=True)
class Sure:
    """How sure the winner's lead is: over the reference, or where that has won, over the nearest other level."""

    outcome: str
    points: str
    interval: str | None
    p: str | None
    rival: str
    chances: Sequence[Chance]
    span: Span | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One cost of the winner; `ratio` is to the reference."""

    name: str
    value: str
    ratio: str | None


@dataclass(frozen=True, kw_only=True)
class TestScore:
    """What the winner scored on the locked test set; `few` names a class that is too small to be sure of."""

    accuracy: str
    interval: str
    n: int
    others: str
    few: str | None
    times: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the box at the top of a page holds.

    Attributes:
        blocks: stages that hold a residual block, to be drawn; None where levels are no placements.
        sure: None where the winner has no rival.
    """

    winner: str
    metric: str
    score: str
    accuracy: str
    n_images: int
    n_folds: int
    blocks: Sequence[str] | None
    reference: str
    sure: Sure | None
    costs: Sequence[Cost]
    test: TestScore | None


def answer(results: Results, found: Verdict) -> Answer:
    """Gather what the first screen says of a comparison's winner."""
    description = results.description
    metric, reference = description["arguments"]["metric"], description["reference"]
    tuned = results.comparison[results.comparison["settings"] != "equal"]
    row = tuned[tuned["level"] == found.winner].iloc[0]
    rival = tuned[(tuned["level"] == reference) & (reference != found.winner)]
    placements = description["factor"] == "placement" and {*found.winner.split("+")} <= {*STAGES, "none"}
    return Answer(
        winner=level_name(None, found.winner) if description["factor"] is None else found.winner,
        metric=metric_name(metric),
        score=f"{row[metric]:.3f}",
        accuracy=f"{row['accuracy']:.3f}",
        n_images=int(row["n_images"]),
        n_folds=int(results.folds.query("phase == 'compare'")["fold"].nunique()),
        blocks=[stage for stage in STAGES if stage in found.winner.split("+")] if placements else None,
        reference=level_name(description["factor"], reference),
        sure=_sure(found, description["factor"]),
        costs=_costs(row, None if rival.empty else rival.iloc[0]),
        test=_test(results, row),
    )


def _sure(found: Verdict, factor: str | None) -> Sure | None:
    own = [f for f in found.findings if f.settings == "tuned" and f.level == found.winner]
    if own:
        finding, rival = own[0], own[0].reference
    elif (nearest := nearest_rival(found.findings)) is not None and nearest.reference == found.winner:
        finding, rival = _turned(nearest), nearest.level
    else:
        return None
    tested = not missing(finding.low)
    shares = (("better", finding.p_better), ("equal", finding.p_equal), ("worse", finding.p_worse))
    chances, start = [], 0.0
    for name, share in shares:
        if not missing(share):
            chances.append(Chance(name=name, start=start, width=100 * share))
            start += 100 * share
    return Sure(
        outcome="not settled" if finding.outcome == "not settled" else "settled",
        points=signed(finding.points),
        interval=f"{signed(finding.low)} to {signed(finding.high)}" if tested else None,
        p=None if missing(finding.p_holm) else _p(finding.p_holm),
        rival=level_name(factor, rival),
        chances=chances,
        span=_span(finding) if tested else None,
    )


def _p(p: float) -> str:
    """As in p = 0.20, on one line."""
    text = p_text(p)
    return f"p {'' if '<' in text else '= '}{text}".replace(" ", "\N{NO-BREAK SPACE}")


def _turned(finding: Finding) -> Finding:
    """The same difference, seen from the reference."""
    return replace(
        finding,
        points=-finding.points,
        low=-finding.high,
        high=-finding.low,
        p_better=finding.p_worse,
        p_worse=finding.p_better,
    )


def _span(finding: Finding) -> Span:
    """The interval, zero and what is practically equal, on a line with a margin on both sides."""
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
    values = (
        ("multiply-adds for one image", "macs", large(row["macs"])),
        ("parameters", "n_parameters", large(row["n_parameters"])),
        ("time for one image", "latency_ms", milliseconds(row["latency_ms"])),
    )
    return [
        Cost(
            name=name,
            value=value,
            ratio=None if rival is None or missing(rival[column]) else times(row[column], rival[column]),
        )
        for name, column, value in values
        if not missing(row[column])
    ]


def test_predictions(results: Results, row: pd.Series) -> pd.DataFrame:
    """The predictions on the locked test set, if what is in a row of the comparison was tested.

    A study that goes on may have another winner than before, or other settings of the same.
    """
    tested = results.description.get("winner", {})
    own = bool(tested) and all(
        row.get(name if name == "level" else f"params_{name}") == value for name, value in tested.items()
    )
    rows = results.predictions
    return rows[(rows["phase"] == "test") & (rows["level"] == row["level"]) & own]


def _test(results: Results, row: pd.Series) -> TestScore | None:
    scores = results.description.get("test")
    rows = test_predictions(results, row)
    if not scores or rows.empty:
        return None
    counts, few = rows["label"].value_counts(), None
    if counts.min() < FEW_IMAGES:
        few = f"balanced accuracy hangs on the {counts.min()} of class {counts.idxmin()}"
    low, high = wilson(int((rows["label"] == rows["predicted"]).sum()), len(rows))
    return TestScore(
        accuracy=f"{scores['accuracy']:.3f}",
        interval=f"{low:.3f} to {high:.3f}",
        n=len(rows),
        others=f"balanced accuracy {scores['balanced_accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}",
        few=few,
        times=int(results.description.get("test_scored", 1)),
    )
