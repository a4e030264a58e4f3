"""The smallest difference that a comparison finds, before any network is trained.

What is not known yet is assumed to be as in a study of 1737 cells of five classes, with eight placements at two
settings on ten folds: two placements disagree about 2.6 % of the images, 24 % in a class of 24 and 2 % in one of
1128; a fifth of that persists from run to run; folds scatter 1.4 times as much as their images explain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search.analysis.contrasts import LEAST_DF, critical_value
from search.analysis.families import Contrast, Kind
from search.analysis.measures import MEASURES, Floats

POWER = 0.8
PERSISTENT, PHI = 0.23, 1.4
# The mean squared difference of two levels' Brier scores, as a share of that of correct and wrong.
BRIER_SHARE = 0.25
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "brier", "balanced_brier")


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a comparison finds with probability POWER.

    Attributes:
        pair: smallest difference between a level and the reference, as a fraction.
        effect: smallest effect; None without declared effects.
        weakest: number of the class with the largest share of the variance.
        share: that share.
    """

    pair: float
    effect: float | None
    weakest: int
    share: float


def power(
    class_counts: Sequence[int],
    metric: str,
    contrasts: Sequence[Contrast],
    n_runs: int,
    looks: Sequence[int] = (1,),
) -> Power:
    """Estimate what a comparison finds.

    Args:
        class_counts: images of each class in the development set; all positive.
        metric: one of METRICS.
        contrasts: the family, as from `search.analysis.families.main_family`; not empty.
        n_runs: of the comparison, at its end.
        looks: number of runs at every planned look.
    """
    measure, counts = MEASURES[metric], np.asarray(class_counts)
    by_class = _variances(counts, class_balanced=measure.balanced or metric == "macro_f1")
    by_class *= BRIER_SHARE if "brier" in metric else 1.0
    df = max(LEAST_DF, float(by_class.sum() ** 2 / (by_class**2 / np.maximum(counts - 1, 1)).sum()))
    # Images are averaged over runs before they are squared; what folds add is not.
    of_runs = PERSISTENT + (1 - PERSISTENT) / n_runs + (PHI - 1) / n_runs
    variance = measure.inflation * of_runs * float(by_class.sum())
    weights = np.array([contrast.weights for contrast in contrasts])
    # A pair has a squared weight of 2, and twice the variance of a level.
    errors = np.sqrt(variance * (weights**2).sum(1) / 2)
    found = smallest_found(critical_value(weights, df, looks) * errors, errors, df)
    pairs, effects = (found[[c.kind == kind for c in contrasts]] for kind in (Kind.PAIR, Kind.EFFECT))
    return Power(
        pair=float(np.median(pairs)),
        effect=float(np.median(effects)) if len(effects) else None,
        weakest=int(by_class.argmax()),
        share=float(by_class.max() / by_class.sum()),
    )


def smallest_found(half: Floats, se: Floats, df: float) -> Floats:
    """What is found with probability POWER, after the comparison.

    Args:
        half: half the widths of simultaneous intervals.
        se: standard errors, with their degrees of freedom.
    """
    return half + float(stats.t.ppf(POWER, df)) * se


def disagreement(class_counts: NDArray[np.int64]) -> Floats:
    """The assumed share of each class's images that two levels disagree about."""
    return np.minimum(0.3, 0.015 + 5 / class_counts)


def _variances(class_counts: NDArray[np.int64], *, class_balanced: bool) -> Floats:
    """Each class's part of the variance of the difference of two levels in one run."""
    shares = (
        np.full(len(class_counts), 1 / len(class_counts)) if class_balanced else class_counts / class_counts.sum()
    )
    variances: Floats = shares**2 * disagreement(class_counts) / class_counts
    return variances
