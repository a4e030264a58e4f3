import math

import numpy as np
import pytest

from search.analysis.statistics import (
    Interval,
    interval_over_folds,
    wilson,
)

SEEDS = range(5)


def random_scores(seed, n_folds=10):
    return np.random.default_rng(seed).uniform(0.8, 0.9, n_folds)


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_contain_the_mean_and_widen(seed):
    values = random_scores(seed)
    interval = interval_over_folds(values, 90, 10)
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(values.mean())
    wider = [interval_over_folds(values, 90, 10, 0.99), interval_over_folds(values, 50, 50)]
    assert all(other.low < interval.low and other.high > interval.high for other in wider)


def test_correction_by_hand():
    # Mean 2, s^2 = 2.5, J = 5 and n_test / n_train = 1/4: variance (1/5 + 1/4) * 2.5 = 1.125.
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    half = 2.776445 * math.sqrt(1.125)
    interval = interval_over_folds(values, 80, 20)
    assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_a_single_fold_has_no_interval():
    interval = interval_over_folds(np.array([0.9]), 90, 10)
    assert interval.mean == 0.9
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_no_spread_among_folds():
    assert interval_over_folds(np.ones(4), 90, 10) == Interval(1, 1, 1)


@pytest.mark.parametrize(
    ("values", "sizes", "message"),
    [
        ([], (90, 10), "at least one"),
        ([1.0, math.nan], (90, 10), "1 of 2 scores are not finite"),
        ([1.0, 2.0], (0, 10), "n_train must be positive"),
        ([1.0, 2.0], (90, 10, 95), "confidence"),
    ],
)
def test_bad_scores_are_named(values, sizes, message):
    with pytest.raises(ValueError, match=message):
        interval_over_folds(np.array(values), *sizes)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (970, 1000)])
def test_wilson_is_the_closed_form(successes, n):
    z, p = 1.959963985, successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = wilson(successes, n)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    assert low <= p <= high


def test_wilson_limits():
    assert wilson(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="11 of 10"):
        wilson(11, 10)
