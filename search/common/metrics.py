"""Scores of a classifier, from labels and probabilities.

The calibration error is the expected calibration error over 15 equal-width bins of the confidence (C. Guo et al.,
On calibration of modern neural networks, ICML 2017). It is biased upwards where images are few: even that of a
perfectly calibrated classifier is above 0 by chance, the more so the fewer images a bin has. Compare it between
equal numbers of images only.

Classes without a labelled image are left out of every macro average: a fold may lack a rare class, and neither
0 nor 1 is a fair score for a class that no image asked about.

The scores equal scikit-learn's to 1e-12 (tests/common/test_metrics.py). They are computed here because they are
due after every epoch: its functions take 8 to 10 ms for one validation (5 classes, 100 to 2200 images, n = 20)
and need a second of imports in every worker. `score` takes 0.3 to 1.2 ms (the same images, median of 200).
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Lower probabilities count as this one: a single image that is confidently wrong must not make the mean infinite.
SMALLEST_PROBABILITY = 1e-7
# Allows for the rounding of a softmax in half precision; logits passed by mistake lie well outside.
PROBABILITY_TOLERANCE = 1e-2
# As published.
CALIBRATION_BINS = 15


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Scores of one set of predictions; all lie in [0, 1] except `log_loss`.

    Of `log_loss`, `brier` and `calibration_error`, lower is better. `sensitivity` and `balanced_accuracy` are both
    the mean recall over the classes that occur (macro recall), and always equal; readers look for either name.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    sensitivity: float
    specificity: float
    log_loss: float
    auc: float
    brier: float
    calibration_error: float


METRIC_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Metrics))
"""All metrics in the order of the tables' columns."""


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Count the images of each true class (row) by predicted class (column).

    Args:
        labels: integers, shape (n_images,), values 0..n_classes-1.
        predicted: integers, shape (n_images,), values 0..n_classes-1.
        n_classes: number of classes, including those that do not occur.
    Returns:
        int64, shape (n_classes, n_classes).
    Raises:
        ValueError: no labels, shapes that differ, or a value that is not a class.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.size == 0:
        raise ValueError("no labels to score")
    if labels.ndim != 1 or labels.shape != predicted.shape:
        raise ValueError(f"labels have shape {labels.shape} but predictions have shape {predicted.shape}")
    for name, values in (("labels", labels), ("predictions", predicted)):
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} must be integers, not {values.dtype}")
        if values.min() < 0 or values.max() >= n_classes:
            raise ValueError(
                f"{name} lie in {values.min()}..{values.max()}, outside the classes 0..{n_classes - 1}"
            )
    cells = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def score_confusion(confusion: NDArray[Any]) -> Metrics:
    """Score a confusion matrix, for example one pooled over folds.

    Macro averages run over the classes that occur among the labels. If only one class occurs, no image can be a
    false positive, and specificity is 1.

    Args:
        confusion: counts, shape (n_classes, n_classes), rows true, columns predicted.
    Returns:
        Metrics, NaN where they depend on probabilities, which a confusion matrix cannot tell.
    Raises:
        ValueError: the matrix is not square, or is empty.
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix is square, but this one has shape {confusion.shape}")
    n_images = confusion.sum()
    if n_images == 0:
        raise ValueError("no labels to score")
    n_true, n_predicted, n_right = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)

    occurs = n_true > 0
    recall = n_right[occurs] / n_true[occurs]
    # 2 TP / (2 TP + FP + FN): this form of F1 does not divide by zero for a class that is never predicted.
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
        log_loss=math.nan,
        auc=math.nan,
        brier=math.nan,
        calibration_error=math.nan,
    )


def score(labels: NDArray[Any], probabilities_NK: NDArray[Any]) -> Metrics:
    """Score predicted probabilities; the predicted class is the most probable one.

    Args:
        labels: integers, shape (n_images,), values 0..n_classes-1.
        probabilities_NK: shape (n_images, n_classes).
    Returns:
        All metrics, finite. `log_loss` is the mean negative natural logarithm of the true class's probability,
        where probabilities below 1e-7 count as 1e-7; `auc` the mean over the classes that occur of the area under
        the ROC curve of each against the rest, 1 where only one occurs; `brier` half the mean squared distance
        between probabilities and truth.
    Raises:
        ValueError: no labels, shapes that do not match, a label that is not a class, or probabilities that are
            not finite or lie outside 0..1.
    """
    labels = np.asarray(labels)
    probabilities_NK = np.asarray(probabilities_NK, dtype=np.float64)
    if labels.size == 0:
        raise ValueError("no labels to score")
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
    confidence = probabilities_NK.max(axis=1)
    return replace(
        score_confusion(confusion),
        log_loss=float(log_loss),
        auc=_auc(labels, probabilities_NK),
        brier=_brier(of_true_class, probabilities_NK),
        calibration_error=calibration_error(confidence, probabilities_NK.argmax(axis=1) == labels),
    )


def _auc(labels: NDArray[Any], probabilities_NK: NDArray[np.float64]) -> float:
    """One class against the rest, from the ranks of the probabilities; ties count half."""
    areas = []
    for k in np.unique(labels):
        own = labels == k
        n_own, n_rest = int(own.sum()), int((~own).sum())
        if not n_rest:
            return 1.0
        _, place, counts = np.unique(probabilities_NK[:, k], return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
        areas.append((ranks[own].sum() - n_own * (n_own + 1) / 2) / (n_own * n_rest))
    return float(np.mean(areas))


def _brier(of_true_class: NDArray[np.float64], probabilities_NK: NDArray[np.float64]) -> float:
    squares = (probabilities_NK**2).sum(1) - 2 * of_true_class + 1
    return float(squares.mean() / 2)


def at_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The probabilities, (N, n_classes), that the same logits have after division by a temperature."""
    if temperature == 1.0:
        return probabilities
    logs = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def calibration_bin(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each confidence, of CALIBRATION_BINS equal ones that hold their upper edge."""
    return np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean over images of the distance between their bin's mean confidence and its share of right predictions."""
    gaps = np.bincount(calibration_bin(confidence), weights=confidence - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
