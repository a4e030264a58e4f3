"""Scores are those of the project's metrics, within intervals that fewer images or groups make wider."""

import numpy as np
import pytest

from search.common.metrics import confusion_matrix, score
from search.predict.predictions import Predictions
from search.predict.scores import confusion, scores

CLASSES = ("a", "b", "c")


def found(n, seed=0, **changes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    probabilities = rng.dirichlet(np.ones(3), n) + 0.7 * np.eye(3)[labels]
    given = {
        "names": tuple(map(str, range(n))),
        "classes": CLASSES,
        "probabilities": probabilities / probabilities.sum(1, keepdims=True),
        "labels": tuple(CLASSES[k] for k in labels),
    }
    return Predictions(**given | changes), labels


@pytest.mark.parametrize("n", [12, 200])
def test_scores_are_those_of_the_projects_metrics(n):
    predictions, labels = found(n)
    expected = score(labels, predictions.probabilities)
    for name, interval in scores(predictions).items():
        assert interval.mean == pytest.approx(getattr(expected, name))
        assert 0 <= interval.low < interval.mean
        assert interval.mean <= interval.high <= 1
    assert np.array_equal(confusion(predictions), confusion_matrix(labels, predictions.probabilities.argmax(1), 3))


def test_groups_of_like_images_tell_less_than_as_many_images():
    one, _ = found(40)
    same = one.only(np.repeat(np.arange(40), 5))
    grouped = Predictions(**vars(same) | {"groups": tuple(np.repeat(np.arange(40), 5).tolist())})
    free, bound = scores(same)["accuracy"], scores(grouped)["accuracy"]
    assert bound.mean == pytest.approx(free.mean)
    assert bound.high - bound.low > 1.5 * (free.high - free.low)


def test_perfect_predictions_are_known_to_an_image_at_best():
    perfect, labels = found(30)
    perfect = Predictions(**vars(perfect) | {"probabilities": np.eye(3)[labels]})
    for interval in scores(perfect).values():
        assert interval.mean == pytest.approx(1)
        assert interval.low < 1


def test_a_choice_of_images_keeps_all_that_belongs_to_them():
    predictions, _ = found(6, unlike=np.arange(6) % 2 == 0, labels=("a", None, "b", None, "c", "a"))
    labelled = predictions.labelled()
    assert labelled.names == ("0", "2", "4", "5")
    assert labelled.labels == ("a", "b", "c", "a")
    assert labelled.unlike.tolist() == [True, True, True, False]
    assert np.array_equal(labelled.probabilities, predictions.probabilities[[0, 2, 4, 5]])
