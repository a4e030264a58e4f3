"""Scores of predictions against true classes, with intervals."""

import numpy as np
from numpy.typing import NDArray

from search.analysis.measures import MEASURES
from search.analysis.statistics import Interval
from search.analysis.untouched import interval_over_networks
from search.common.metrics import confusion_matrix
from search.predict.predictions import Predictions

SCORED = ("accuracy", "balanced_accuracy", "macro_f1")


def scores(found: Predictions) -> dict[str, Interval]:
    """Scores by name, with 95 % intervals over other images, or over groups, of the same kind.

    Args:
        found: every image has a label.
    """
    groups = None if found.groups is None else np.array(found.groups, np.int64)
    return {
        name: interval_over_networks(
            MEASURES[name], found.probabilities[None], _true(found), overlap=0.0, groups=groups
        )
        for name in SCORED
    }


def confusion(found: Predictions) -> NDArray[np.int64]:
    """Images of each true class (row) by predicted class (column), of all classes of the network.

    Args:
        found: every image has a label.
    """
    return confusion_matrix(_true(found), found.probabilities.argmax(1), len(found.classes))


def _true(found: Predictions) -> NDArray[np.int64]:
    number = {name: k for k, name in enumerate(found.classes)}
    return np.array([number[label] for label in found.labels or () if label is not None], np.int64)
