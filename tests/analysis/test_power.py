import numpy as np
import pytest

from search.analysis.families import main_family
from search.analysis.power import METRICS, power, smallest_found

LEVELS = ("none", "1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
FAMILY = main_family(LEVELS, "none", {s: [level for level in LEVELS if s in level.split("+")] for s in "123"})
CELLS = (24, 57, 432, 96, 1128)


@pytest.mark.parametrize("metric", METRICS)
def test_more_images_and_runs_find_less_and_more_looks_cost(metric):
    found = power(CELLS, metric, FAMILY, 2, (2,))
    assert 0 < found.effect < found.pair < 1
    for better in (power([4 * n for n in CELLS], metric, FAMILY, 2, (2,)), power(CELLS, metric, FAMILY, 4, (4,))):
        assert better.pair < found.pair
        assert better.effect < found.effect
    assert power(CELLS, metric, FAMILY, 4, (2, 4)).pair > power(CELLS, metric, FAMILY, 4, (4,)).pair
    assert power(CELLS, metric, FAMILY[3:4], 2, (2,)).pair < found.pair  # a family of one


def test_a_class_balanced_metric_depends_on_the_rarest_class():
    assert power(CELLS, "balanced_accuracy", FAMILY, 2).weakest == 0
    assert power(CELLS, "balanced_accuracy", FAMILY, 2).share > 0.5
    assert power(CELLS, "accuracy", FAMILY, 2).weakest == 4
    assert power((500,) * 5, "balanced_accuracy", FAMILY, 2).share == pytest.approx(0.2)


def test_what_a_study_measured_is_near_what_was_assumed():
    # Standard errors of pairs in the study that the assumptions are from: 0.36 and 1.9 points (means over pairs).
    for metric, se in (("accuracy", 0.0036), ("balanced_accuracy", 0.019)):
        found = power(CELLS, metric, FAMILY, 2, (2,))
        assert found.pair / (2.75 + 0.85) == pytest.approx(se, rel=0.25)


def test_without_effects_there_is_none():
    assert power(CELLS, "accuracy", FAMILY[3:], 2).effect is None


@pytest.mark.parametrize("df", [4.0, 12.0, 200.0])
def test_the_smallest_difference_is_found_in_four_studies_of_five(df):
    rng, n, critical = np.random.default_rng(0), 40_000, 2.75
    size = smallest_found(np.array(critical), np.array(1.0), df)
    t = (size + rng.normal(size=n)) / np.sqrt(rng.chisquare(df, n) / df)
    assert np.mean(np.abs(t) > critical) == pytest.approx(0.8, abs=0.05)
