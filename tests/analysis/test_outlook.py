import math

import numpy as np
import pytest

from search.analysis.outlook import MOST_REPEATS, outlook
from search.analysis.statistics import paired_difference

SIZES = {"n_train": 900.0, "n_test": 100.0}


def spread_differences(mean, spread, n_folds=10):
    """Differences of exactly this mean and standard deviation."""
    values = np.linspace(-1, 1, n_folds)
    return mean + spread * values / values.std(ddof=1)


def p_after(mean, spread, n_values):
    values = spread_differences(mean, spread, n_values)
    return paired_difference(values, np.zeros(n_values), **SIZES).p


@pytest.mark.parametrize("spread", [0.0255, 0.028, 0.030])
def test_so_many_repeats_settle_it_and_no_fewer(spread):
    found = outlook(spread_differences(0.02, spread), **SIZES, n_folds=10, alpha=0.05)
    assert found.repeats is not None
    assert found.repeats > 1
    assert p_after(0.02, spread, 10 * found.repeats) < 0.05
    assert p_after(0.02, spread, 10 * (found.repeats - 1)) >= 0.05


def test_no_repeats_go_below_the_share_that_all_repeats_have_in_common():
    # With n_test / n_train = 1/9 the error of ever so many repeats is a third of the spread, 1.96 of which decide.
    floor = 1.96 / 3
    assert outlook(spread_differences(0.99 * floor, 1), **SIZES, n_folds=10, alpha=0.05).repeats is None
    above = outlook(spread_differences(1.1 * floor, 1), **SIZES, n_folds=10, alpha=0.05).repeats
    assert above is not None
    assert above <= MOST_REPEATS


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_folds_that_all_differ_alike_are_settled_by_as_many_equal_signs(n_folds):
    found = outlook(np.full(n_folds, 0.02), **SIZES, n_folds=n_folds, alpha=0.05)
    assert found.repeats > 1

    def p_of(repeats):
        return paired_difference(np.full(repeats * n_folds, 0.02), np.zeros(repeats * n_folds), **SIZES).p

    assert p_of(found.repeats) < 0.05 <= p_of(found.repeats - 1)


def test_more_images_are_asked_for_as_the_difference_shrinks():
    wanted = [outlook(spread_differences(mean, 0.05), **SIZES, n_folds=10, alpha=0.05) for mean in (0.02, 0.01)]
    assert all(found.images_now == 1000 for found in wanted)
    assert wanted[1].images == pytest.approx(4 * wanted[0].images, rel=1e-3)
    # By hand: (t(0.975) + t(0.8), nine degrees) times the corrected error over the difference, squared.
    error = 0.05 * math.sqrt(1 / 10 + 1 / 9)
    assert wanted[0].images == math.ceil(1000 * ((2.262157 + 0.883404) * error / 0.02) ** 2)


def test_that_many_images_settle_it_with_the_promised_chance():
    rng, mean, spread = np.random.default_rng(0), 0.02, 0.05
    wanted = outlook(spread_differences(mean, spread), **SIZES, n_folds=10, alpha=0.05)
    smaller = spread / math.sqrt(wanted.images / wanted.images_now)
    # Fold differences that all share the images' own luck, as the corrected variance has it: rho = 1/10.
    settled = 0
    for _ in range(2000):
        shared = rng.normal() * smaller * math.sqrt(1 / 9)
        values = mean + shared + rng.normal(size=10) * smaller
        settled += paired_difference(values, np.zeros(10), **SIZES).p < 0.05
    assert 0.75 < settled / 2000 < 0.9


def test_equal_scores_are_never_told_apart():
    found = outlook(np.zeros(10), **SIZES, n_folds=10, alpha=0.05)
    assert (found.repeats, found.images) == (None, None)
    balanced = outlook(spread_differences(0, 0.1), **SIZES, n_folds=10, alpha=0.05)
    assert balanced.repeats is None


def test_a_constant_difference_needs_nothing_more():
    assert outlook(np.full(10, 0.01), **SIZES, n_folds=10, alpha=0.05).repeats == 1
