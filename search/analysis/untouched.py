"""Scores of networks on a data set that none of them was trained on, over networks and images.

Two things make such a score uncertain, and both are in its interval. Other images of that laboratory would score
otherwise: the variance of each image's score, averaged over networks, within its class (or over groups). Other
trainings would, too: the variance between networks. These share most of their training images, so their variance
counts not 1/n of it but 1/n + the ratio of validation to training images, as for scores over folds.

Sources: A. B. Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007), for a mean over two crossed factors, here
without resampling; C. Nadeau and Y. Bengio, Machine Learning 52 (2003), for networks that share training images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from search.analysis.contrasts import CONFIDENCE, LEAST_DF, Scores, image_df, image_mean
from search.analysis.measures import MEASURES, Floats, Measure
from search.analysis.pooling import pooled_metrics
from search.analysis.statistics import Interval

# The measure that each metric is the mean of. A metric without one has no interval.
_MEASURE_OF = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "sensitivity": "balanced_accuracy",
    "macro_f1": "macro_f1",
    "specificity": "specificity",
    "log_loss": "log_loss",
    "brier": "brier",
}


def untouched_columns(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    *,
    overlap: float,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The columns of a row of untouched networks: scores pooled, means over networks, and their intervals.

    Args:
        predictions: rows of the predictions table; every network has scored every image.
        classes: of the networks.
        overlap: ratio of validation to training images of the networks' folds.
        groups: image -> group; None if every image is its own.
    """
    images = sorted(predictions["image"].unique())
    ordered = predictions.sort_values(["setting", "repeat", "fold", "image"], kind="stable")
    shape = (len(ordered) // len(images), len(images))
    labels = pd.Categorical(ordered["label"].iloc[: len(images)], categories=list(classes)).codes.astype(np.int64)
    probabilities = ordered[[f"probability_{name}" for name in classes]].to_numpy(float).reshape(*shape, -1)
    numbers = None
    if groups is not None:
        numbers = np.unique([groups[image] for image in images], return_inverse=True)[1].astype(np.int64)
    columns: dict[str, Any] = {
        "n_images": len(images),
        "n_networks": shape[0],
        **asdict(pooled_metrics(predictions, classes)),
    }
    for name, of_images in _MEASURE_OF.items():
        measure = MEASURES[of_images]
        sign = -1 if measure.is_loss else 1
        found = interval_over_networks(measure, probabilities, labels, overlap=overlap, groups=numbers)
        ends = sorted((sign * found.low, sign * found.high))
        columns |= {f"{name}_mean": sign * found.mean, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return columns


def interval_over_networks(
    measure: Measure,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    overlap: float,
    groups: NDArray[np.int64] | None = None,
) -> Interval:
    """The mean over networks of a score on the same images, with its 95 % interval over networks and images.

    Args:
        probabilities: shape (n_networks, n_images, n_classes).
        labels: shape (n_images,).
        overlap: ratio of validation to training images of the networks' folds.
        groups: of the images, shape (n_images,), such as their patients.
    Returns:
        An interval within the values that the score can have. That of a single network is over images alone.
    """
    values = measure.scores(probabilities, labels)
    scores = Scores(
        values=values[:, None],
        folds=np.zeros((len(values), len(labels)), np.int64),
        labels=labels,
        groups=groups,
        balanced=measure.balanced,
    )
    scattered = image_mean(values.mean(0), scores)
    mean, of_images = float(scattered[0]), float(scattered[1])
    of_images = max(of_images, _single_image(labels, balanced=measure.balanced) ** 2)
    each, _ = image_mean(values, scores)
    of_networks = (1 / len(each) + overlap) * float(each.var(ddof=1)) if len(each) > 1 else 0.0
    df = _degrees_of_freedom((of_images, image_df(values.mean(0), scores)), (of_networks, max(1, len(each) - 1)))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * math.sqrt(of_images + of_networks)
    least, most = (-math.inf, 0.0) if measure.is_loss else (0.0, 1.0)
    return Interval(mean, max(least, mean - half), min(most, mean + half))


def _single_image(labels: NDArray[np.int64], *, balanced: bool) -> float:
    """What one image more or less right changes, at most: no score is known better, even a perfect one."""
    counts = np.unique(labels, return_counts=True)[1]
    return 1 / (len(counts) * counts.min()) if balanced else 1 / len(labels)


def _degrees_of_freedom(*parts: tuple[float, float]) -> float:
    """Satterthwaite's, of a sum of variances, each with its own."""
    total = sum(variance for variance, _ in parts)
    return max(LEAST_DF, total**2 / sum(variance**2 / df for variance, df in parts))
