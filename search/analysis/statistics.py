"""Intervals, tests and posteriors for cross-validation scores.

Folds share most of their training images, so their scores are not independent, and the usual t test finds
differences that do not exist. Everything over folds therefore uses the corrected variance

    (1 / J + n_test / n_train) * s^2        J = number of values (folds x repeats), s^2 = their variance

Higher scores are better throughout: negate a loss first.

Sources: C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52 (2003);
R. R. Bouckaert and E. Frank, Evaluating the replicability of significance tests for comparing learning
algorithms, PAKDD (2004), for folds x repeats.
"""

import math
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Difference:
    """A mean difference, its confidence interval and its two-sided p value, not adjusted for other tests."""

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Posterior:
    """Probabilities of better, practically equal and worse; they sum to 1, or are all NaN."""

    p_better: float
    p_equal: float
    p_worse: float


@dataclass(frozen=True)
class LevelComparison:
    """One level against the reference and against the best level; differences are level minus other.

    A level compared with itself has difference 0, interval [0, 0] and NaN for every probability, since there is
    nothing to test.
    """

    interval: Interval
    difference_reference: Difference
    difference_best: Difference
    p_holm: float
    p_mcnemar: float
    posterior: Posterior


_WITH_ITSELF = Difference(0.0, 0.0, 0.0, math.nan)
_NO_POSTERIOR = Posterior(math.nan, math.nan, math.nan)


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


def paired_difference(
    a: NDArray[Any], b: NDArray[Any], n_train: float, n_test: float, confidence: float = 0.95
) -> Difference:
    """Test whether a and b score differently, by the corrected resampled t test on a - b.

    Args:
        a: scores, shape (n_folds_total,).
        b: scores on the same folds in the same order.
        n_train, n_test, confidence: as in `interval_over_folds`.
    Returns:
        Mean of a - b, its interval and two-sided p. For a single fold all but the mean are NaN. For the same
        difference in every fold the interval is [mean, mean], and p is 1 if that difference is zero, otherwise
        2^(1-J), the p of the sign-flip test: the t test would give p = 0, but few folds of few images often agree
        by chance, and J equal differences are no better evidence than J equal signs.
    Raises:
        ValueError: the shapes differ, and as in `interval_over_folds`.
    Source: Nadeau and Bengio (2003); Bouckaert and Frank (2004).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired scores need the same folds, got shapes {a.shape} and {b.shape}")
    mean, error, n_values = corrected_error(a - b, n_train, n_test)
    half = _half_width(error, n_values, confidence)
    if n_values == 1:
        p = math.nan
    elif error == 0:
        p = 1.0 if mean == 0 else 2.0 ** (1 - n_values)
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, n_values - 1))
    return Difference(mean, mean - half, mean + half, p)


def holm(p_values: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Adjust p values for their number, so that the chance of any false alarm stays at the nominal level.

    Args:
        p_values: shape (n_tests,). NaN marks a test that was not made; it stays NaN and does not count.
    Returns:
        Adjusted p values, shape (n_tests,), in the same order.
    Raises:
        ValueError: a p value outside 0..1.
    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    p = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    if np.any((p[tested] < 0) | (p[tested] > 1)):
        raise ValueError(f"p values must be in 0..1, got {p[tested].min()}..{p[tested].max()}")
    ascending = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(ascending), 0, -1)
    p[ascending] = np.minimum(np.maximum.accumulate(p[ascending] * factors), 1.0)
    return p


def mcnemar(correct_a: NDArray[Any], correct_b: NDArray[Any]) -> float:
    """Test whether two classifiers err equally often, by the images that only one of them gets right.

    Args:
        correct_a: bool, shape (n_images,).
        correct_b: bool, the same images in the same order, each once: repeats would make p too small.
    Returns:
        Exact two-sided binomial p; 1 if no image tells the two apart.
    Raises:
        ValueError: the shapes differ.
    Source: Q. McNemar, Psychometrika 12 (1947); exact form as in T. Dietterich, Neural Computation 10 (1998).
    """
    correct_a, correct_b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if correct_a.shape != correct_b.shape:
        raise ValueError(f"McNemar's test needs paired images, got shapes {correct_a.shape} and {correct_b.shape}")
    only_a, only_b = int(np.sum(correct_a & ~correct_b)), int(np.sum(correct_b & ~correct_a))
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


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


def bayesian_correlated_t(
    differences: NDArray[Any], n_train: float, n_test: float, rope: float = 0.01
) -> Posterior:
    """Compute the probabilities that a classifier is better than, practically equal to, or worse than another.

    Args:
        differences: scores minus the other's scores, fold by fold, shape (n_folds_total,).
        n_train, n_test: as in `interval_over_folds`; rho = n_test / (n_test + n_train).
        rope: region of practical equivalence; true differences in -rope..rope count as equal.
    Returns:
        The posterior; NaN for a single fold. If every fold has the same difference, it has all the mass.
    Raises:
        ValueError: a negative rope, and as in `interval_over_folds`.
    Source: A. Benavoli, G. Corani, J. Demsar, M. Zaffalon, Time for a change: a tutorial for comparing
    multiple classifiers through Bayesian analysis, JMLR 18(77) (2017).
    """
    if rope < 0:
        raise ValueError(f"rope must not be negative, got {rope}")
    # rho / (1 - rho) is n_test / n_train: the posterior has the corrected t test's scale.
    mean, error, n_values = corrected_error(differences, n_train, n_test)
    if n_values == 1:
        return _NO_POSTERIOR
    if error == 0:
        return Posterior(float(mean > rope), float(-rope <= mean <= rope), float(mean < -rope))
    p_better = float(stats.t.sf((rope - mean) / error, n_values - 1))
    p_worse = float(stats.t.cdf((-rope - mean) / error, n_values - 1))
    return Posterior(p_better, max(0.0, 1 - p_better - p_worse), p_worse)


def compare_levels(
    scores: Mapping[str, NDArray[Any]],
    correct: Mapping[str, NDArray[Any]],
    reference: str,
    n_train: float,
    n_test: float,
    rope: float = 0.01,
) -> dict[str, LevelComparison]:
    """Compare every level of a factor with a reference level and with the best level.

    Args:
        scores: for each level, shape (n_folds_total,), the folds in the same order for all.
        correct: for the same levels, bool, shape (n_images_total,), the images in the same order for all.
        reference: the level that the others are tested against, chosen before the scores are seen.
        n_train, n_test, rope: as in `bayesian_correlated_t`.
    Returns:
        A comparison for each level, in the order of `scores`. The best level has the highest mean score (of
        equals, the first); `difference_best` only describes, since choosing the best by the same scores biases its
        p. `p_holm` adjusts over all levels but the reference, whose own is NaN.
    Raises:
        ValueError: unknown reference, or levels or shapes differ; names them.
    """
    if reference not in scores:
        raise ValueError(f"reference {reference!r} is not among the levels {', '.join(scores)}")
    if set(scores) != set(correct):
        raise ValueError(f"scores are of {', '.join(scores)} but predictions of {', '.join(correct)}")
    for name, values_of in (("scores", scores), ("predictions", correct)):
        for level in scores:
            shapes = np.shape(values_of[level]), np.shape(values_of[reference])
            if shapes[0] != shapes[1]:
                raise ValueError(f"{name} of {level} have shape {shapes[0]}, those of {reference} {shapes[1]}")
    intervals = {level: interval_over_folds(values, n_train, n_test) for level, values in scores.items()}
    best = max(intervals, key=lambda level: intervals[level].mean)

    def difference(level: str, other: str) -> Difference:
        same = level == other
        return _WITH_ITSELF if same else paired_difference(scores[level], scores[other], n_train, n_test)

    to_reference = {level: difference(level, reference) for level in scores}
    p_holm = holm([to_reference[level].p for level in scores])
    comparisons = {}
    for level, adjusted in zip(scores, p_holm, strict=True):
        is_reference = level == reference
        gains = np.asarray(scores[level]) - np.asarray(scores[reference])
        comparisons[level] = LevelComparison(
            interval=intervals[level],
            difference_reference=to_reference[level],
            difference_best=difference(level, best),
            p_holm=float(adjusted),
            p_mcnemar=math.nan if is_reference else mcnemar(correct[level], correct[reference]),
            posterior=_NO_POSTERIOR if is_reference else bayesian_correlated_t(gains, n_train, n_test, rope),
        )
    return comparisons
