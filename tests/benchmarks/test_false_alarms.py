import numpy as np
import pytest

from benchmarks.false_alarms import CLASS_COUNTS, METRICS, gain_of, study, true_gain
from search.analysis.verdict import ALPHA

STUDIES = 300


@pytest.fixture(scope="module")
def of_equals():
    """Adjusted p values of levels that are equal by construction, (studies, levels), by metric."""
    several = [study(seed, CLASS_COUNTS) for seed in range(STUDIES)]
    return {metric: np.array([adjusted[metric] for adjusted in several]) for metric in METRICS}


@pytest.mark.parametrize("metric", METRICS)
def test_a_study_of_equals_seldom_finds_a_difference(of_equals, metric):
    alarms = (of_equals[metric] < ALPHA).any(axis=1)
    assert alarms.mean() <= ALPHA


def test_a_large_difference_is_found():
    found = [study(seed, CLASS_COUNTS, gain=2.0)["accuracy"] for seed in range(20)]
    assert all(adjusted[-1] < ALPHA for adjusted in found)


def test_the_gain_gives_the_true_difference_asked_for():
    assert true_gain(1.0, "accuracy", CLASS_COUNTS) == pytest.approx(0, abs=0.001)
    assert 100 * true_gain(gain_of(2, "accuracy", CLASS_COUNTS), "accuracy", CLASS_COUNTS) == pytest.approx(
        2, abs=0.05
    )
