import numpy as np
import pytest
from scipy import stats

from search.analysis.contrasts import (
    LEAST_DF,
    Scores,
    critical_value,
    estimate,
    heterogeneity,
    image_mean,
    probabilities,
    simultaneous,
)
from search.analysis.families import main_family

LEVELS = ("none", "1", "2", "1+2")
FAMILY = main_family(LEVELS, "none", {s: [level for level in LEVELS if s in level.split("+")] for s in "12"})
WEIGHTS = np.array([contrast.weights for contrast in FAMILY])


def make_scores(seed=0, *, n_runs=2, counts=(8, 40, 152), n_folds=10, gain=0.0, **options):
    """Correct or not, of levels that find the same images hard; the last level is better by a gain."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    hard = rng.random(len(labels)) * 0.3
    wrong = rng.random((n_runs, len(LEVELS), len(labels))) < hard
    wrong[:, -1] &= rng.random(wrong[:, -1].shape) > gain
    folds = np.stack([rng.permutation(len(labels)) % n_folds for _ in range(n_runs)])
    return Scores(values=1.0 - wrong, folds=folds, labels=labels, **options)


@pytest.mark.parametrize("balanced", [False, True])
def test_an_estimate_is_the_difference_of_means(balanced):
    scores = make_scores(balanced=balanced)
    found = estimate(scores, WEIGHTS)
    means = scores.values.mean(0)
    if balanced:
        means = np.stack([means[:, scores.labels == k].mean(1) for k in range(3)]).mean(0)
    else:
        means = means.mean(1)
    assert found.estimate == pytest.approx(WEIGHTS @ means)
    assert image_mean(scores.values.mean(0), scores)[0] == pytest.approx(means)


def test_one_run_and_one_class_give_the_paired_t_test():
    scores = make_scores(n_runs=1, counts=(200,), n_folds=200)  # every image a fold of its own
    found = estimate(scores, WEIGHTS[2:3])
    theirs = stats.ttest_rel(scores.values[0, 1], scores.values[0, 0])
    assert found.phi == pytest.approx(1.0, abs=0.02)
    assert found.estimate[0] / found.se[0] == pytest.approx(theirs.statistic, rel=0.02)
    assert found.df == pytest.approx(theirs.df)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("looks", [(2,), (2, 4)])
def test_p_is_below_the_level_exactly_where_the_interval_excludes_zero(seed, looks):
    scores = make_scores(seed, gain=0.15 * seed, inflation=1.3)
    found = estimate(scores, WEIGHTS)
    adjusted = simultaneous(found, looks)
    assert ((adjusted.p < 0.05) == ((adjusted.low > 0) | (adjusted.high < 0))).all()
    assert (adjusted.high - found.estimate) == pytest.approx(adjusted.critical * found.se)
    # No less than one test by itself, no more than all of them without regard to their correlation.
    alone = stats.t.ppf(0.975, found.df)
    bonferroni = stats.t.ppf(1 - 0.025 / (len(WEIGHTS) * len(looks)), found.df)
    assert alone < adjusted.critical < bonferroni * 1.02


def test_repeated_calls_and_other_orders_give_the_same():
    scores = make_scores(3)
    found = estimate(scores, WEIGHTS)
    assert simultaneous(found).p.tolist() == simultaneous(estimate(scores, WEIGHTS)).p.tolist()
    rng = np.random.default_rng(0)
    images, levels = rng.permutation(len(scores.labels)), rng.permutation(len(LEVELS))
    mixed = Scores(
        values=scores.values[::-1][:, levels][:, :, images],
        folds=scores.folds[::-1][:, images],
        labels=2 - scores.labels[images],
    )
    again = estimate(mixed, WEIGHTS[:, levels])
    assert again.estimate == pytest.approx(found.estimate)
    assert again.covariance == pytest.approx(found.covariance)
    assert (again.df, again.phi) == pytest.approx((found.df, found.phi))


def test_identical_levels_differ_by_exactly_nothing():
    scores = make_scores()
    values = scores.values.copy()
    values[:, 1] = values[:, 0]
    found = estimate(Scores(values=values, folds=scores.folds, labels=scores.labels), WEIGHTS)
    adjusted = simultaneous(found)
    assert (found.estimate[2], found.se[2], adjusted.low[2], adjusted.high[2], adjusted.p[2]) == (0, 0, 0, 0, 1)
    # And where nothing differs at all.
    values[:] = values[:, :1]
    adjusted = simultaneous(estimate(Scores(values=values, folds=scores.folds, labels=scores.labels), WEIGHTS))
    assert (adjusted.p == 1).all()
    assert (adjusted.low == 0).all()


def test_no_difference_is_known_better_than_to_one_image():
    values = np.zeros((1, 2, 20))
    values[:, 1] = 1.0
    scores = Scores(values=values, folds=np.arange(20)[None] % 5, labels=np.zeros(20, int))
    found = estimate(scores, np.array([[-1.0, 1.0]]))
    assert found.estimate[0] == pytest.approx(1)
    assert found.se[0] == pytest.approx(1 / 20)


@pytest.mark.parametrize("n", range(3, 10))
def test_a_class_of_few_images_leaves_few_degrees_of_freedom(n):
    found = estimate(make_scores(counts=(n, 300), balanced=True), WEIGHTS)
    assert LEAST_DF <= found.df <= 3 * max(n - 1, LEAST_DF)
    assert np.isfinite(found.covariance).all()
    assert simultaneous(found).critical > critical_value(WEIGHTS, 1000)


def test_folds_that_scatter_widen_the_intervals():
    scores = make_scores(n_runs=4)
    plain = estimate(scores, WEIGHTS)
    rng = np.random.default_rng(1)
    shifts = rng.normal(0, 0.2, (4, len(LEVELS), 10))
    shifted = scores.values + np.take_along_axis(shifts, scores.folds[:, None, :], axis=2)
    scattered = estimate(Scores(values=shifted, folds=scores.folds, labels=scores.labels), WEIGHTS)
    assert plain.phi < 2 < scattered.phi
    assert (scattered.se > plain.se).all()


def test_images_of_a_group_that_agree_count_as_fewer():
    scores = make_scores(counts=(40, 160))
    groups = np.arange(200) // 4
    values = scores.values[:, :, groups * 4]  # all images of a group alike
    alike = Scores(values=values, folds=scores.folds, labels=scores.labels)
    grouped = Scores(values=values, folds=scores.folds, labels=scores.labels, groups=groups)
    alone = Scores(values=scores.values, folds=scores.folds, labels=scores.labels, groups=np.arange(200))
    assert (estimate(grouped, WEIGHTS).se > 1.5 * estimate(alike, WEIGHTS).se).all()
    assert estimate(alone, WEIGHTS).se == pytest.approx(estimate(scores, WEIGHTS).se)
    few = Scores(values=values, folds=scores.folds, labels=scores.labels, groups=groups // 8)
    assert estimate(few, WEIGHTS).df <= len(np.unique(groups // 8)) - 1


def test_more_runs_reduce_what_runs_differ_in_and_nothing_else():
    found = estimate(make_scores(n_runs=4), WEIGHTS)
    variance = np.diag(found.covariance)
    assert ((found.persistent >= 0) & (found.persistent <= variance)).all()
    assert found.se_after(1) == pytest.approx(found.se)
    assert (found.se_after(2) <= found.se).all()
    assert found.se_after(1e9) == pytest.approx(np.sqrt(found.persistent), abs=1e-6)
    single = estimate(make_scores(n_runs=1), WEIGHTS)
    assert single.persistent == pytest.approx(np.diag(single.covariance) / 2)


def test_inflation_multiplies_the_variance():
    plain, inflated = (estimate(make_scores(inflation=factor), WEIGHTS) for factor in (1.0, 1.3))
    assert inflated.covariance == pytest.approx(1.3 * plain.covariance)


def test_settings_that_change_a_contrast_are_noticed_and_noise_is_not():
    scores, settings = make_scores(n_runs=4, counts=(100, 300)), np.array([0, 1, 0, 1])
    assert heterogeneity(scores, WEIGHTS, settings) > 0.05
    values = scores.values.copy()
    values[settings == 1, 1] *= np.random.default_rng(0).random(values[settings == 1, 1].shape) > 0.2
    changed = Scores(values=values, folds=scores.folds, labels=scores.labels)
    assert heterogeneity(changed, WEIGHTS, settings) < 0.01
    assert np.isnan(heterogeneity(scores, WEIGHTS, np.zeros(4, int)))


def test_more_looks_need_a_higher_boundary():
    boundaries = [critical_value(WEIGHTS, 200, looks) for looks in ((2,), (2, 4), (2, 4, 6, 8))]
    assert boundaries == sorted(boundaries)
    assert boundaries[-1] - boundaries[0] < 0.6
    # Pocock's boundary for two looks at one contrast, two-sided 5 %.
    assert critical_value(np.array([[1.0, -1.0]]), 1e6, (1, 2)) == pytest.approx(2.178, abs=0.04)


def test_chances_add_up_and_mirror():
    better, equal, worse = probabilities(0.02, 0.01, 50, 0.01)
    assert better + equal + worse == pytest.approx(1)
    assert probabilities(-0.02, 0.01, 50, 0.01) == pytest.approx((worse, equal, better))
    assert probabilities(0.0, 0.0, 4, 0.01) == (0, 1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"folds": np.zeros((1, 3), int)}, "folds"), ({"values": np.full((2, 4, 200), np.nan)}, "finite")],
)
def test_what_does_not_fit_is_refused(change, message):
    given = vars(make_scores()) | change
    with pytest.raises(ValueError, match=message):
        estimate(Scores(**given), WEIGHTS)
    with pytest.raises(ValueError, match="4 levels"):
        estimate(make_scores(), WEIGHTS[:, :3])
