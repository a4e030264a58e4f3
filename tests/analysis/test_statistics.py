import math

import numpy as np
import pytest
from scipy import integrate, stats

from search.analysis.statistics import (
    Difference,
    Interval,
    bayesian_correlated_t,
    compare_levels,
    holm,
    interval_over_folds,
    mcnemar,
    paired_difference,
    wilson,
)

SEEDS = range(5)


def random_scores(seed, n_folds=10):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.8, 0.9, n_folds), rng.uniform(0.8, 0.92, n_folds)


# Intervals and paired differences over folds


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_contain_the_mean_and_widen(seed):
    values, _ = random_scores(seed)
    interval = interval_over_folds(values, 90, 10)
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(values.mean())
    wider = [interval_over_folds(values, 90, 10, 0.99), interval_over_folds(values, 50, 50)]
    assert all(other.low < interval.low and other.high > interval.high for other in wider)


@pytest.mark.parametrize("seed", SEEDS)
def test_differences_are_antisymmetric(seed):
    a, b = random_scores(seed)
    forth, back = paired_difference(a, b, 90, 10), paired_difference(b, a, 90, 10)
    assert (forth.mean, forth.low, forth.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert forth.p == pytest.approx(back.p)
    assert 0 <= forth.p <= 1
    # p is below 0.05 exactly where the 95 % interval leaves out zero.
    assert (forth.p < 0.05) == (forth.low > 0 or forth.high < 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_overlap_it_is_the_ordinary_t_test(seed):
    a, b = random_scores(seed)
    ours, theirs = paired_difference(a, b, 90, 0), stats.ttest_rel(a, b)
    assert ours.p == pytest.approx(theirs.pvalue)
    ends = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((ends.low, ends.high))
    assert paired_difference(a, b, 90, 10).p > ours.p


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
    assert math.isnan(paired_difference(np.array([0.9]), np.array([0.8]), 90, 10).p)
    assert math.isnan(bayesian_correlated_t(np.array([0.1]), 90, 10).p_equal)


def test_no_spread_among_folds():
    a, _ = random_scores(0, n_folds=6)
    assert paired_difference(a, a, 90, 10) == Difference(0, 0, 0, 1)
    constant = paired_difference(a + 0.1, a, 90, 10)  # constant but for rounding
    assert constant.low == constant.mean == constant.high == pytest.approx(0.1)
    assert constant.p == 2**-5
    assert interval_over_folds(np.ones(4), 90, 10) == Interval(1, 1, 1)


@pytest.mark.parametrize(
    ("a", "b", "sizes", "message"),
    [
        ([1.0, 2.0], [1.0], (90, 10), "same folds"),
        ([], [], (90, 10), "at least one"),
        ([1.0, math.nan], [1.0, 2.0], (90, 10), "1 of 2 scores are not finite"),
        ([1.0, 2.0], [1.0, 2.0], (0, 10), "n_train must be positive"),
        ([1.0, 2.0], [1.0, 2.0], (90, 10, 95), "confidence"),
    ],
)
def test_bad_scores_are_named(a, b, sizes, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(np.array(a), np.array(b), *sizes)


def test_false_alarms_of_equal_learners():
    """10 x 10-fold cross-validation of two equally good learners, on 400 data sets of 100 images.

    Each learner cuts one of two equally telling features halfway between its class means. Equal in truth,
    so every p below 0.05 is a false alarm; the ordinary t test raises far more of them than 5 %.
    """
    rng = np.random.default_rng(0)
    n_sets, n_images, n_folds, n_repeats = 400, 100, 10, 10
    sign = np.tile([-1.0, 1.0], n_images // 2)
    features = rng.normal(size=(n_sets, n_images, 2)) + 0.5 * sign[:, None]
    accuracies = []
    for _ in range(n_repeats):
        order = rng.permutation(n_images)
        for fold in range(n_folds):
            held_out = order[fold::n_folds]
            train = np.setdiff1d(order, held_out)
            means = [features[:, train[sign[train] == s]].mean(axis=1) for s in (-1, 1)]
            cut = (means[0] + means[1]) / 2
            right = (features[:, held_out] > cut[:, None]) == (sign[held_out] > 0)[:, None]
            accuracies.append(right.mean(axis=1))
    scores = np.array(accuracies)  # (folds x repeats, data sets, learners)

    def false_alarms(n_test):
        p = [paired_difference(scores[:, i, 0], scores[:, i, 1], 90, n_test).p for i in range(n_sets)]
        return np.mean(np.array(p) < 0.05)

    assert false_alarms(n_test=10) < 0.05 + 0.04
    assert false_alarms(n_test=0) > 0.3


# Holm, McNemar, Wilson


@pytest.mark.parametrize("seed", SEEDS)
def test_holm_is_monotone_and_never_below_raw(seed):
    p = np.random.default_rng(seed).uniform(0, 0.3, 8)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert (adjusted <= np.minimum(8 * p, 1) + 1e-15).all()  # never worse than Bonferroni
    shuffle = np.random.default_rng(seed).permutation(8)
    assert holm(p[shuffle]) == pytest.approx(adjusted[shuffle])


def test_holm_example_and_nan():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert holm([]).shape == (0,)
    with pytest.raises(ValueError, match="p values"):
        holm([0.5, 1.5])


@pytest.mark.parametrize("seed", SEEDS)
def test_mcnemar_is_symmetric_and_sees_only_discordant_images(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(100) < 0.9, rng.random(100) < 0.8
    p = mcnemar(a, b)
    assert 0 <= p <= 1
    assert p == pytest.approx(mcnemar(b, a))
    assert p == mcnemar(np.append(a, [True, False]), np.append(b, [True, False]))


def test_mcnemar_examples():
    a = np.array([True] * 9 + [False])
    assert mcnemar(a, ~a) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(a, a) == 1
    with pytest.raises(ValueError, match="paired images"):
        mcnemar(a, a[:5])


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


# Bayesian correlated t test


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rope", [0.0, 0.01, 0.05])
def test_posterior_sums_to_one_and_mirrors(seed, rope):
    a, b = random_scores(seed)
    forth, back = (bayesian_correlated_t(d, 90, 10, rope) for d in (a - b, b - a))
    assert forth.p_better + forth.p_equal + forth.p_worse == pytest.approx(1)
    assert min(forth.p_better, forth.p_equal, forth.p_worse) >= 0
    assert (forth.p_better, forth.p_equal) == pytest.approx((back.p_worse, back.p_equal))


@pytest.mark.parametrize("seed", SEEDS)
def test_posterior_without_rope_is_the_one_sided_p(seed):
    # Benavoli et al. (2017): with this prior the two numbers coincide, though they mean different things.
    a, b = random_scores(seed)
    posterior = bayesian_correlated_t(a - b, 90, 10, rope=0)
    assert 2 * min(posterior.p_better, posterior.p_worse) == pytest.approx(paired_difference(a, b, 90, 10).p)


def test_posterior_is_the_integral_of_its_density():
    a, b = random_scores(1)
    d, rho = a - b, 10 / (10 + 90)
    scale = math.sqrt((1 / 10 + rho / (1 - rho)) * d.var(ddof=1))
    inside, _ = integrate.quad(lambda x: stats.t.pdf(x, 9, loc=d.mean(), scale=scale), -0.01, 0.01)
    assert bayesian_correlated_t(d, 90, 10, rope=0.01).p_equal == pytest.approx(inside)


@pytest.mark.parametrize(("gain", "expected"), [(0.02, (1, 0, 0)), (0.0, (0, 1, 0)), (-0.02, (0, 0, 1))])
def test_posterior_without_spread(gain, expected):
    posterior = bayesian_correlated_t(np.full(5, gain), 90, 10, rope=0.01)
    assert (posterior.p_better, posterior.p_equal, posterior.p_worse) == expected


# All levels


def levels(seed=0):
    rng = np.random.default_rng(seed)
    truth = {"none": 0.80, "1": 0.86, "2": 0.90, "1+2": 0.81}
    scores = {level: rng.normal(mean, 0.02, 10) for level, mean in truth.items()}
    correct = {level: rng.random(200) < mean for level, mean in truth.items()}
    return scores, correct


def test_levels_agree_with_the_single_functions():
    scores, correct = levels()
    comparisons = compare_levels(scores, correct, "none", 90, 10)
    assert list(comparisons) == list(scores)
    others = ["1", "2", "1+2"]
    raw = [paired_difference(scores[level], scores["none"], 90, 10) for level in others]
    for level, difference, adjusted in zip(others, raw, holm([d.p for d in raw]), strict=True):
        row = comparisons[level]
        assert row.difference_reference == difference
        assert row.p_holm == pytest.approx(adjusted)
        assert row.p_mcnemar == mcnemar(correct[level], correct["none"])
        assert row.posterior == bayesian_correlated_t(scores[level] - scores["none"], 90, 10, 0.01)
        assert row.interval == interval_over_folds(scores[level], 90, 10)


def test_a_level_against_itself():
    scores, correct = levels()
    comparisons = compare_levels(scores, correct, "none", 90, 10)
    reference, best = comparisons["none"], comparisons["2"]
    for zero in (reference.difference_reference, best.difference_best):
        assert (zero.mean, zero.low, zero.high) == (0, 0, 0)
        assert math.isnan(zero.p)
    assert math.isnan(reference.p_holm)
    assert math.isnan(reference.p_mcnemar)
    assert math.isnan(reference.posterior.p_equal)
    assert reference.difference_best.mean == pytest.approx(-best.difference_reference.mean)
    assert all(row.difference_best.mean <= 0 for row in comparisons.values())


def test_bad_levels_are_named():
    scores, correct = levels()
    with pytest.raises(ValueError, match=r"'3' is not among the levels none, 1, 2, 1\+2"):
        compare_levels(scores, correct, "3", 90, 10)
    with pytest.raises(ValueError, match="predictions of none"):
        compare_levels(scores, {"none": correct["none"]}, "none", 90, 10)
    with pytest.raises(ValueError, match=r"scores of 1 have shape \(5,\), those of none \(10,\)"):
        compare_levels({**scores, "1": scores["1"][:5]}, correct, "none", 90, 10)
    with pytest.raises(ValueError, match="predictions of 2 have shape"):
        compare_levels(scores, {**correct, "2": correct["2"][:5]}, "none", 90, 10)
