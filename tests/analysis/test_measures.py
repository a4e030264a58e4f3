import numpy as np
import pytest

from search.analysis.contrasts import Scores, estimate
from search.analysis.measures import MEASURES, measures_for
from search.common.metrics import score


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (9, 20, 60, 111))
    shares = rng.dirichlet(np.ones(4), (1, 2, len(labels)))
    shares[..., np.arange(len(labels)), labels] += rng.random((1, 2, len(labels)))
    return shares / shares.sum(-1, keepdims=True), labels


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss"])
def test_a_contrast_of_image_scores_is_the_difference_of_the_metric(cells, name):
    probabilities, labels = cells
    measure = MEASURES[name]
    scores = Scores(
        values=measure.scores(probabilities, labels),
        folds=np.arange(len(labels))[None] % 10,
        labels=labels,
        balanced=measure.balanced,
    )
    found = estimate(scores, np.array([[1.0, -1.0]])).estimate[0]
    one, other = (getattr(score(labels, probabilities[0, level]), name) for level in (0, 1))
    sign = -1 if name == "log_loss" else 1
    assert found == pytest.approx(sign * (one - other))


def test_brier_scores_lie_between_right_and_wrong(cells):
    probabilities, labels = cells
    brier = MEASURES["brier"].scores(probabilities, labels)
    assert ((brier <= 0) & (brier >= -1)).all()
    sure = np.eye(4)[labels]
    assert (MEASURES["brier"].scores(sure, labels) == 0).all()
    assert MEASURES["brier"].scores(np.roll(sure, 1, axis=1), labels) == pytest.approx(-1)


def test_influence_on_macro_f1_is_what_leaving_an_image_out_changes(cells):
    probabilities, labels = cells
    values = MEASURES["macro_f1"].scores(probabilities, labels)[0, 0]
    whole, n = score(labels, probabilities[0, 0]).macro_f1, len(labels)
    for image in (0, 15, 60, 199):
        rest = np.delete(np.arange(n), image)
        left_out = score(labels[rest], probabilities[0, 0][rest]).macro_f1
        assert (values[image] - whole) / (n - 1) == pytest.approx(whole - left_out, abs=0.002)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_metric_decides_and_accuracy_follows(metric):
    names = [measure.name for measure in measures_for(metric)]
    assert names[0] == metric
    assert {"accuracy", "brier", "log_loss"} <= {*names}
    assert len({*names}) == len(names)
