"""Intervals of scores: over folds, and of proportions.

Folds share most of their training images, so their scores are not independent, and the usual interval is too
narrow. Intervals over folds therefore use the corrected variance

    (1 / J + n_test / n_train) * s^2        J = number of values (folds x repeats), s^2 = their variance

Sources: C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52 (2003);
R. R. Bouckaert and E. Frank, Evaluating the replicability of significance tests for comparing learning
algorithms, PAKDD (2004), for folds x repeats.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Scores that differ by less than this differ by rounding; one image in a million is far more.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; `low` and `high` are NaN for a single value."""

    mean: float
    low: float
    high: float


def corrected_error(values: NDArray[Any], n_train: float, n_test: float) -> tuple[float, float, int]:
    """Compute mean, corrected standard error (NaN for one value, 0 for constant values) and number of values.

    Args and errors: as in `interval_over_folds`.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected scores of shape (n_folds,) with at least one fold, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{np.sum(~np.isfinite(values))} of {values.size} scores are not finite")
    if n_train <= 0 or n_test < 0:
        raise ValueError(f"n_train must be positive and n_test not negative, got {n_train} and {n_test}")
    mean = float(values.mean())
    if values.size == 1:
        return mean, math.nan, 1
    if np.ptp(values) <= ROUNDING * max(1.0, float(np.abs(values).max())):
        return (0.0 if abs(mean) <= ROUNDING else mean), 0.0, values.size
    variance = (1 / values.size + n_test / n_train) * float(values.var(ddof=1))
    return mean, math.sqrt(variance), values.size


def _half_width(error: float, n_values: int, confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return math.nan if n_values == 1 else error * float(stats.t.ppf((1 + confidence) / 2, n_values - 1))


def interval_over_folds(values: NDArray[Any], n_train: float, n_test: float, confidence: float = 0.95) -> Interval:
    """Compute the mean of cross-validation scores with a t interval of corrected variance.

    Args:
        values: scores, shape (n_folds_total,), over folds and repeats.
        n_train: images trained on in a fold (the mean, where folds differ).
        n_test: images validated on in a fold.
        confidence: of the interval.
    Returns:
        The interval; NaN ends for a single value, [mean, mean] for constant values.
    Raises:
        ValueError: no values, values that are not finite, or sizes or confidence out of range.
    Source: Nadeau and Bengio (2003).
    """
    mean, error, n_values = corrected_error(values, n_train, n_test)
    half = _half_width(error, n_values, confidence)
    return Interval(mean, mean - half, mean + half)


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the Wilson score interval of a proportion; it stays in 0..1, and is no point at 0 or n successes.

    Args:
        successes: for example, images classified correctly.
        n: number of trials; for none the interval is (0, 1).
        confidence: of the interval.
    Returns:
        Low and high end.
    Raises:
        ValueError: successes outside 0..n.
    Source: E. B. Wilson, J. Amer. Statist. Assoc. 22 (1927).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..n, got {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    ends = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(ends.low), float(ends.high)
