"""Repeats or images that would settle a difference which the folds leave open.

The corrected variance of a mean over J fold differences, (1 / J + n_test / n_train) * s^2, has a part that no
number of repeats removes, since all repeats share the same images. Repeats can settle a difference only if it
exceeds what n_test / n_train * s^2 alone allows for; beyond that, only more images help.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search.analysis.statistics import corrected_error

# A difference that needs more partitions than this needs more images instead.
MOST_REPEATS = 100
POWER = 0.8


@dataclass(frozen=True)
class Outlook:
    """What would settle a difference if it stays as large as observed.

    Attributes:
        repeats: total number of partitions into folds that suffice; None if MOST_REPEATS do not.
        images: total number of images with which a study of the same folds and repeats settles it with probability
            POWER; None if the difference is zero, which no number settles.
        images_now: images that this study partitions.
    """

    repeats: int | None
    images: int | None
    images_now: int


def outlook(differences: NDArray[Any], *, n_train: float, n_test: float, n_folds: int, alpha: float) -> Outlook:
    """Estimate how many repeats or images settle a mean difference by the corrected resampled t test.

    The observed variance of the differences is taken for the true one. With more images of the same mix of classes
    it falls as one over their number, since a fold's scores are means over its images.

    Args:
        differences: of the scores of two networks, fold by fold, shape (n_folds_total,); two or more.
        n_train, n_test: images trained on and validated on in a fold.
        n_folds: of one partition.
        alpha: p value below which the difference is settled, already corrected for the other tests.
    Source: the variance of C. Nadeau and Y. Bengio, Machine Learning 52 (2003).
    """
    mean, error, n_values = corrected_error(differences, n_train, n_test)
    n_images = round(n_train + n_test)
    if mean == 0:
        return Outlook(None, None, n_images)
    spread = float(np.std(differences, ddof=1))
    repeats = np.arange(1, MOST_REPEATS + 1)
    n_fold_values = np.maximum(repeats * n_folds, 2)
    errors = spread * np.sqrt(1 / n_fold_values + n_test / n_train)
    if error == 0:  # then the test is that of equal signs, see `paired_difference`
        settles = 2.0 ** (1 - n_fold_values) < alpha
    else:
        settles = abs(mean) > stats.t.ppf(1 - alpha / 2, n_fold_values - 1) * errors
    enough = repeats[settles & (repeats * n_folds >= n_values)]
    reach = stats.t.ppf(1 - alpha / 2, n_values - 1) + stats.t.ppf(POWER, n_values - 1)
    images = math.ceil(n_images * (reach * error / mean) ** 2)
    return Outlook(int(enough[0]) if len(enough) else None, images, n_images)
