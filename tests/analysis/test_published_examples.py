"""The statistics against figures that others have published."""

import pytest
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from search.analysis.statistics import interval_over_folds, wilson


@pytest.fixture(scope="module")
def kernels():
    """AUC of two kernels on ten times ten folds of a hundred points.

    From scikit-learn's user guide, "Statistical comparison of models using grid search".
    """
    points, labels = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    return [
        cross_val_score(SVC(kernel=kernel, random_state=0), points, labels, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    ]


def test_corrected_resampled_t_interval(kernels):
    interval = interval_over_folds(kernels[0] - kernels[1], 90, 10)
    error = (interval.high - interval.mean) / stats.t.ppf(0.975, 99)
    assert stats.t.sf(interval.mean / error, 99) == pytest.approx(0.227, abs=5e-4)  # they publish the one-sided p


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval(successes, n, low, high):
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
