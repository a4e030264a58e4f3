"""The level to use: the cheapest that nothing is shown to beat, what it may lose, and what would settle more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.analysis.comparison import Judged
from search.analysis.contrasts import estimate
from search.analysis.families import Kind, all_pairs
from search.analysis.gathering import Gathered
from search.analysis.outcome import Outcome, outcome

MOST_RUNS = 40


@dataclass(frozen=True, kw_only=True)
class Step:
    """A next step for a contrast that is open.

    Attributes:
        do: more runs, more images, or a look at another metric that sees more.
        number: of runs or images in total, if the difference stays as large as it is; None for a metric.
        contrast: that it settles.
        metric: that settles it.
    """

    do: Literal["runs", "images", "metric"]
    contrast: str
    metric: str
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The level to use, as in `study.json`.

    Attributes:
        beaten: level -> what is shown to beat it.
        rivals: levels that are not beaten, cheapest first; the recommended one is the first.
        loses_at_most: upper bound on what a rival gains over it; None where nothing can be judged or none is left.
        loses_to: the level of that bound.
        best: the level with the best estimate.
        n_open: contrasts that are open.
    """

    level: str
    beaten: Mapping[str, str]
    rivals: Sequence[str]
    best: str
    loses_at_most: float | None
    loses_to: str | None
    n_open: int
    next: Sequence[Step]

    @property
    def is_judged(self) -> bool:
        """Whether the data suffice to judge anything; otherwise the level is only the cheapest."""
        return self.loses_at_most is not None or bool(self.beaten)


def recommend(
    gathered: Gathered,
    main: Judged,
    others: Sequence[Judged],
    *,
    levels: Sequence[str],
    reference: str,
    effects: Mapping[str, Sequence[str]],
    best: str,
    macs: Mapping[str, float],
) -> Recommendation:
    """Choose a level from a comparison.

    Args:
        main: the family that decides.
        others: the same contrasts by other measures.
        levels: of the factor that were compared.
        effects: name -> levels that have it.
        best: the level with the best estimate.
        macs: cost of each level.
    """
    beaten = _beaten(main, levels, reference, effects)
    rivals = sorted((level for level in levels if level not in beaten), key=lambda level: macs[level]) or [best]
    bound, to = _loses_at_most(gathered, main, rivals[0], rivals)
    return Recommendation(
        level=rivals[0],
        beaten=beaten,
        rivals=rivals,
        best=best,
        loses_at_most=bound,
        loses_to=to,
        n_open=sum(row.get("outcome") == Outcome.OPEN for row in main.rows()),
        next=_next_steps(gathered, main, others),
    )


def _beaten(
    main: Judged, levels: Sequence[str], reference: str, effects: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The levels that a contrast shows to be worse than others, and by what."""
    beaten: dict[str, str] = {}
    for row in main.rows():
        shown, name = row.get("outcome"), row["contrast"]
        if shown not in (Outcome.BETTER, Outcome.WORSE):
            continue
        better = shown == Outcome.BETTER
        if row["kind"] == Kind.EFFECT:
            having = effects[name]
            worse = [level for level in levels if (level in having) != better]
            beaten |= {level: f"{name} is {shown}" for level in worse if level not in beaten}
        elif row["level"] in levels:
            loser, rival = (reference, row["level"]) if better else (row["level"], reference)
            beaten[loser] = rival
    return beaten


def _loses_at_most(
    gathered: Gathered, main: Judged, level: str, rivals: Sequence[str]
) -> tuple[float | None, str | None]:
    """The largest upper bound on what a rival gains, with the family's critical value."""
    others = [other for other in rivals if other != level]
    if main.adjusted is None or not others:
        return None, None
    names = list(gathered.levels)
    pairs = all_pairs(names).reshape(len(names), len(names), -1)
    found = estimate(
        gathered.scores(main.measure),
        np.array([pairs[names.index(other), names.index(level)] for other in others]),
    )
    high = found.estimate + main.adjusted.critical * found.se
    largest = int(high.argmax())
    return float(high[largest]), others[largest]


def _next_steps(gathered: Gathered, main: Judged, others: Sequence[Judged]) -> list[Step]:
    """What would settle the open contrast that is nearest to being settled."""
    if main.adjusted is None:
        return []
    rows = main.rows()
    unsettled = [number for number, row in enumerate(rows) if row["outcome"] == Outcome.OPEN]
    if not unsettled:
        return []
    ratio = np.abs(main.found.estimate) / np.maximum(main.found.se, 1e-300)
    nearest = max(unsettled, key=lambda number: ratio[number])
    contrast, metric = rows[nearest]["contrast"], main.measure.name
    steps = []
    for judged in others:
        seen = judged.rows()[nearest].get("outcome")
        if seen in (Outcome.BETTER, Outcome.WORSE):
            steps.append(Step(do="metric", contrast=contrast, metric=judged.measure.name))
            break
    runs, images = _runs_needed(main, nearest), _images_needed(gathered, main, nearest)
    if runs is not None:
        steps.append(Step(do="runs", contrast=contrast, metric=metric, number=runs))
    if images is not None:
        steps.append(Step(do="images", contrast=contrast, metric=metric, number=images))
    return steps


def _settled(main: Judged, number: int, se: float) -> bool:
    assert main.adjusted is not None  # the caller has looked
    size, half = float(main.found.estimate[number]), main.adjusted.critical * se
    margin = main.margin if main.measure.has_margin else None
    return outcome(size - half, size + half, margin) != Outcome.OPEN


def _runs_needed(main: Judged, number: int) -> int | None:
    """Runs in total that settle a contrast if it stays as large as it is; None if MOST_RUNS do not."""
    for n_runs in range(main.n_runs + 1, MOST_RUNS + 1):
        if _settled(main, number, float(main.found.se_after(n_runs / main.n_runs)[number])):
            return n_runs
    return None


def _images_needed(gathered: Gathered, main: Judged, number: int) -> int | None:
    """Images in total that settle a contrast if it stays as large as it is, with two significant digits.

    The variance falls as one over the number of images of the same mix of classes.
    """
    n_now, se = len(gathered.labels), float(main.found.se[number])
    for factor in np.geomspace(1.05, 1000, 200):
        if _settled(main, number, se / float(np.sqrt(factor))):
            return int(float(f"{n_now * factor:.1e}"))
    return None
