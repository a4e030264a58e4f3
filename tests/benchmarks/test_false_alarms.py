import numpy as np
import pytest

from benchmarks.false_alarms import KINDS, METRICS, Setup, finds, judged, simulate, with_gain
from search.analysis.measures import MEASURES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_study_scores_every_image_once_a_run_by_a_classifier_that_has_not_seen_it(kind, grouped):
    study = simulate(Setup(kind=KINDS[kind], n_images=200, n_folds=5, n_runs=2, grouped=grouped), seed=0)
    assert study.probabilities.sum(-1) == pytest.approx(1.0, abs=1e-5)
    assert (np.sort(np.unique(study.folds)) == np.arange(5)).all()
    assert not (study.folds[0] == study.folds[1]).all()
    if grouped:
        for run in study.folds:
            assert all(len(np.unique(run[study.groups == group])) == 1 for group in np.unique(study.groups))
    again = simulate(Setup(kind=KINDS[kind], n_images=200, n_folds=5, n_runs=2, grouped=grouped), seed=0)
    assert (again.probabilities == study.probabilities).all()


def test_classifiers_are_equal_unless_some_have_a_gain():
    setup = Setup(kind=KINDS["means"], n_images=600)
    better = with_gain(setup, ("1+2+3",), 3.0, n_pilots=5)
    measure = MEASURES["accuracy"]
    shown = [
        [100 * judged(simulate(s, seed), "accuracy").found.estimate[-1] for seed in range(10)]
        for s in (setup, better)
    ]
    assert np.mean(shown[0]) == pytest.approx(0, abs=1.0)
    assert np.mean(shown[1]) == pytest.approx(3.0, abs=1.2)
    assert measure.inflation > 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_study_of_equals_seldom_finds_a_difference_and_a_large_one_is_found(metric):
    setup = Setup(kind=KINDS["means"], n_images=300, n_folds=5)
    n = 40
    assert sum(finds(simulate(setup, seed), metric) for seed in range(n)) <= 0.15 * n
    large = Setup(kind=KINDS["means"], n_images=1000, n_folds=5, gains=(("1+2+3", 2.5),))
    assert all(finds(simulate(large, seed), metric, "1+2+3 − none") for seed in range(3))
