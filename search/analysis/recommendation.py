"""The level to use: the cheapest that nothing is shown to beat, what it may lose, and what would settle more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.analysis.comparison import Judged, Row
from search.analysis.contrasts import estimate
from search.analysis.families import SEPARATOR, Kind, all_pairs
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
    crossed: Judged | None,
    others: Sequence[Judged],
    *,
    levels: Sequence[str],
    effects: Mapping[str, Sequence[str]],
    best: str,
    macs: Mapping[str, float],
) -> Recommendation:
    """Choose a level from a comparison.

    Args:
        main: the family that decides.
        crossed: the interactions of its effects; None if there are none.
        others: the same contrasts as `main`, by other measures.
        levels: of the factor that were compared.
        effects: name -> levels that have it.
        best: the level with the best estimate.
        macs: cost of each level.
    """
    beaten, gains = {}, _Gains(gathered, main, levels)
    if main.adjusted is not None:
        beaten = _beaten_by_effects(main, crossed, gains, effects) | gains.beaten(main.adjusted.critical)
    rivals = sorted((level for level in levels if level not in beaten), key=lambda level: macs[level])
    bound, to = None, None
    if main.adjusted is not None and len(rivals) > 1:
        bound, to = max((gains.at_most(rivals[0], rival, main.adjusted.critical), rival) for rival in rivals[1:])
    return Recommendation(
        level=rivals[0],
        beaten={level: beaten[level] for level in levels if level in beaten},
        rivals=rivals,
        best=best,
        loses_at_most=bound,
        loses_to=to,
        n_open=sum(row.get("outcome") == Outcome.OPEN for row in main.rows()),
        next=_next_steps(gathered, main, others),
    )


class _Gains:
    """What every level gains over every other one.

    The family's critical value serves for all of these pairs, although only those with the reference belong to the
    family. The best level is missed only if one of its own differences to the others is, and these are as many as
    the pairs of the family (Hsu, Annals of Statistics 12 (1984), multiple comparisons with the best).
    """

    def __init__(self, gathered: Gathered, main: Judged, levels: Sequence[str]) -> None:
        found = estimate(gathered.scores(main.measure), all_pairs(gathered.levels))
        places = [gathered.levels.index(level) for level in levels]
        # From every other level's advantage over a level, as rows of the other, to rows of the level.
        self._estimate, self._se = (
            values.reshape(len(gathered.levels), -1).T[np.ix_(places, places)]
            for values in (found.estimate, found.se)
        )
        self.levels = levels

    def gains(self, level: str, other: str) -> bool:
        """Whether the other level came out better."""
        return bool(self._estimate[self._place(level, other)] > 0)

    def at_most(self, level: str, other: str, critical: float) -> float:
        """What the other level gains at most."""
        place = self._place(level, other)
        return float(self._estimate[place] + critical * self._se[place])

    def beaten(self, critical: float) -> dict[str, str]:
        """The levels that another one is shown to be better than, and the one that is so by most."""
        low = self._estimate - critical * self._se
        return {
            level: self.levels[int(row.argmax())]
            for level, row in zip(self.levels, low, strict=True)
            if row.max() > 0
        }

    def _place(self, level: str, other: str) -> tuple[int, int]:
        return self.levels.index(level), self.levels.index(other)


def _beaten_by_effects(
    main: Judged, crossed: Judged | None, gains: _Gains, effects: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The levels that an effect shows to be worse than others, and by what.

    An effect is an average. It speaks of a level only if no interaction is shown to change it, and if the level
    that differs in nothing else came out better too.
    """
    rows = [] if crossed is None else crossed.rows()
    interacting = {name for row in rows if _is_shown(row) for name in row["contrast"].split(SEPARATOR)}
    beaten: dict[str, str] = {}
    for row in main.rows():
        name = row["contrast"]
        if row["kind"] != Kind.EFFECT or not _is_shown(row) or name in interacting:
            continue
        worse = [level for level in gains.levels if (level in effects[name]) == (row["outcome"] == Outcome.WORSE)]
        for level in worse:
            partner = _partner(level, name, effects, gains.levels)
            if partner is not None and gains.gains(level, partner):
                beaten.setdefault(level, f"{name} is {row['outcome']}")
    return beaten


def _is_shown(row: Row) -> bool:
    return row.get("outcome") in (Outcome.BETTER, Outcome.WORSE)


def _partner(level: str, name: str, effects: Mapping[str, Sequence[str]], levels: Sequence[str]) -> str | None:
    """The level that differs in one effect only; None if there is none."""
    wanted = {effect: (level in having) != (effect == name) for effect, having in effects.items()}
    found = (
        other for other in levels if {effect: other in having for effect, having in effects.items()} == wanted
    )
    return next(found, None)


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
