"""Scores of single images, which contrasts between levels are made of.

Every score is better when higher: losses are negated. The mean of a measure's scores over images, or over the
means of classes, is the metric itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.common.metrics import SMALLEST_PROBABILITY

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric as a mean of scores of images.

    Attributes:
        name: as in the tables.
        scores: (probabilities, labels) -> scores; shapes (..., n_images, n_classes), (n_images,), (..., n_images).
        balanced: the mean is over the means of classes, so that a rare class counts as much as a common one.
        inflation: factor on the variance for what training on other images would add, which no comparison on one
            data set can see; `benchmarks.false_alarms` shows that it suffices.
        is_loss: lower is better of the metric, so its scores are negated.
        has_margin: it is measured in points of 100, so that a margin in points makes sense.
    """

    name: str
    scores: Callable[[Floats, NDArray[np.int64]], Floats]
    balanced: bool
    inflation: float
    is_loss: bool = False
    has_margin: bool = True


def _correct(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    return (probabilities.argmax(-1) == labels).astype(np.float64)


def _brier(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Minus half the squared distance between probabilities and truth, which lies in 0..1."""
    truth = np.eye(probabilities.shape[-1])[labels]
    return -((probabilities - truth) ** 2).sum(-1) / 2


def _log_likelihood(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    own = np.take_along_axis(probabilities, labels[(None,) * (probabilities.ndim - 2)][..., None], -1)[..., 0]
    return np.log(np.maximum(own, SMALLEST_PROBABILITY))


def _f1_influence(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Macro F1 plus the influence of each image on it; the mean over images is macro F1.

    F1 = 2 TP / (images of the class + images taken for it), so one image changes it by
    (2 [right] - F1 ([of the class] + [taken for it])) / (the same sum), to first order.
    """
    predicted = probabilities.argmax(-1)
    n = len(labels)
    total = np.zeros(predicted.shape)
    classes = np.unique(labels)
    for k in classes:
        own, taken = labels == k, predicted == k
        size = own.sum() + taken.sum(-1, keepdims=True)
        right = own & taken
        f1 = 2 * right.sum(-1, keepdims=True) / size
        total += f1 + n * (2.0 * right - f1 * (own.astype(float) + taken)) / size
    return total / len(classes)


def _specificity(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Minus what each image adds to the false positives of another class, each class's share counting alike."""
    predicted, n = probabilities.argmax(-1), len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    cost = np.zeros(probabilities.shape[-1])
    cost[classes] = n / (len(classes) * np.maximum(n - counts, 1))
    return 1 - np.where(predicted == labels, 0.0, cost[predicted])


# Inflations. A rare class has few images to learn from, and what is learned wrongly about it costs images of the
# common classes, in every fold alike. The scores that count such images finely need the largest. Balanced scores
# scatter so much by their rare classes' own images that this hardly adds to it.
_COARSE, _FINE, _BALANCED = 1.3, 1.5, 1.0
MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="accuracy", scores=_correct, balanced=False, inflation=_COARSE),
        Measure(name="balanced_accuracy", scores=_correct, balanced=True, inflation=_BALANCED),
        Measure(name="macro_f1", scores=_f1_influence, balanced=False, inflation=_FINE),
        Measure(name="specificity", scores=_specificity, balanced=False, inflation=_FINE),
        Measure(name="brier", scores=_brier, balanced=False, inflation=_FINE, is_loss=True),
        Measure(name="balanced_brier", scores=_brier, balanced=True, inflation=_BALANCED, is_loss=True),
        Measure(
            name="log_loss",
            scores=_log_likelihood,
            balanced=False,
            inflation=_FINE,
            is_loss=True,
            has_margin=False,
        ),
    )
}


def measures_for(metric: str) -> tuple[Measure, ...]:
    """The metric that decides, then those that follow as families of their own, because they see more."""
    balanced = ("balanced_brier",) if metric != "accuracy" else ()
    names: tuple[Any, ...] = (metric, "accuracy", "brier", *balanced, "log_loss")
    return tuple(MEASURES[name] for name in dict.fromkeys(names))
