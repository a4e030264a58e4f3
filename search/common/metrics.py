"""Scores of a classifier from its labels and probabilities: arrays in, numbers out, no files.

Classes without a labelled image are left out of every macro average: a fold may miss a rare class, and
neither 0 nor 1 would be a fair score for a class that was never asked about.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Below this a probability counts as this: one image that is surely wrong must not make the mean infinite.
SMALLEST_PROBABILITY = 1e-7
# Room for the rounding of a softmax in half precision; logits passed by mistake lie well outside it.
PROBABILITY_TOLERANCE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Scores of one set of predictions; all lie in [0, 1] except `log_loss`, where lower is better.

    `sensitivity` is the mean recall over the classes that occur, which is also the definition of
    `balanced_accuracy`: the two are always equal, and both are kept since readers look for either name.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    sensitivity: float
    specificity: float
    log_loss: float


METRIC_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Metrics))
"""All metrics in the order of the tables' columns."""


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Count the images of each true class (row) that were given each class (column).

    Args:
        labels: integers, shape (n_images,), values 0..n_classes-1.
        predicted: integers, shape (n_images,), values 0..n_classes-1.
        n_classes: number of classes, including those that do not occur.
    Returns:
        int64, shape (n_classes, n_classes).
    Raises:
        ValueError: no labels, shapes that differ, or a value that is no class.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.size == 0:
        raise ValueError("there are no labels to score")
    if labels.ndim != 1 or labels.shape != predicted.shape:
        raise ValueError(f"labels have shape {labels.shape} but predictions have shape {predicted.shape}")
    for name, values in (("labels", labels), ("predictions", predicted)):
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} must be integers, not {values.dtype}")
        if values.min() < 0 or values.max() >= n_classes:
            raise ValueError(
                f"{name} lie in {values.min()}..{values.max()}, outside the classes 0..{n_classes - 1}"
            )
    import sklearn.metrics  # it takes a second to import, which a study's header need not wait for

    counts = sklearn.metrics.confusion_matrix(labels, predicted, labels=np.arange(n_classes))
    return np.asarray(counts, dtype=np.int64)


def score_confusion(confusion: NDArray[Any], log_loss: float = float("nan")) -> Metrics:
    """Score a confusion matrix, for example one pooled over folds.

    Macro averages run over the classes that occur among the labels. Where a single class occurs, no image
    could be a false positive, and specificity is 1.

    Args:
        confusion: counts, shape (n_classes, n_classes), rows true, columns predicted.
        log_loss: handed through, since a confusion matrix does not know it.
    Returns:
        The metrics; finite, except for a `log_loss` that was not given.
    Raises:
        ValueError: the matrix is not square, or is empty.
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix is square, but this one has shape {confusion.shape}")
    n_images = confusion.sum()
    if n_images == 0:
        raise ValueError("there are no labels to score")
    n_true, n_predicted, n_right = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)

    occurs = n_true > 0
    recall = n_right[occurs] / n_true[occurs]
    # 2 TP / (2 TP + FP + FN): the form of F1 that needs no precision, so no division by zero predictions.
    f1 = 2 * n_right[occurs] / (n_true + n_predicted)[occurs]
    n_negative = n_images - n_true[occurs]
    n_false_positive = (n_predicted - n_right)[occurs]
    specificity = 1 - n_false_positive / np.maximum(n_negative, 1)
    return Metrics(
        accuracy=float(n_right.sum() / n_images),
        balanced_accuracy=float(recall.mean()),
        macro_f1=float(f1.mean()),
        sensitivity=float(recall.mean()),
        specificity=float(specificity.mean()),
        log_loss=float(log_loss),
    )


def score(labels: NDArray[Any], probabilities_NK: NDArray[Any]) -> Metrics:
    """Score predicted probabilities; the predicted class is the most probable one.

    Args:
        labels: integers, shape (n_images,), values 0..n_classes-1.
        probabilities_NK: shape (n_images, n_classes).
    Returns:
        All metrics, finite. `log_loss` is the mean negative natural logarithm of the probability given to
        the true class, with probabilities below 1e-7 raised to it.
    Raises:
        ValueError: no labels, shapes that do not fit, labels that are no class, or probabilities that are
            not finite or lie outside 0..1.
    """
    labels = np.asarray(labels)
    probabilities_NK = np.asarray(probabilities_NK, dtype=np.float64)
    if labels.size == 0:
        raise ValueError("there are no labels to score")
    if labels.ndim != 1 or probabilities_NK.ndim != 2 or len(labels) != len(probabilities_NK):
        raise ValueError(
            f"labels have shape {labels.shape} but probabilities have shape {probabilities_NK.shape}; "
            "expected (n_images,) and (n_images, n_classes)"
        )
    finite = np.isfinite(probabilities_NK).all(axis=1)
    if not finite.all():
        raise ValueError(f"probabilities of {np.sum(~finite)} of {len(labels)} images are not finite")
    lowest, highest = probabilities_NK.min(), probabilities_NK.max()
    if lowest < -PROBABILITY_TOLERANCE or highest > 1 + PROBABILITY_TOLERANCE:
        raise ValueError(f"probabilities lie in {lowest:.4g}..{highest:.4g}, outside 0..1; are they logits?")

    confusion = confusion_matrix(labels, probabilities_NK.argmax(axis=1), probabilities_NK.shape[1])
    of_true_class = probabilities_NK[np.arange(len(labels)), labels]
    # abs() only turns the -0.0 of a perfect prediction into 0.0.
    log_loss = abs(-np.log(np.clip(of_true_class, SMALLEST_PROBABILITY, 1.0)).mean())
    return score_confusion(confusion, log_loss)
