"""The temperature that makes a network's probabilities agree with how often it is right.

Source: C. Guo et al., On calibration of modern neural networks, ICML (2017).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from search.analysis.measures import MEASURES, Floats
from search.common.metrics import SMALLEST_PROBABILITY, at_temperature, calibration_error

# A few images that are all classified correctly would ask for a temperature of 0.
LEAST, MOST = 0.25, 10.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, and what it changes on predictions that it was not fitted to.

    Attributes:
        log_loss_before, error_before: log loss and calibration error as predicted.
        log_loss_after, error_after: of the predictions of each part at the temperature of all other parts.
    """

    temperature: float
    log_loss_before: float
    log_loss_after: float
    error_before: float
    error_after: float


def calibrate(probabilities: Floats, labels: NDArray[np.int64], parts: NDArray[np.int64]) -> Calibration:
    """Fit a temperature to all predictions, and to all but each part to see what it is worth.

    Args:
        probabilities: of images that the networks did not train on, shape (n_predictions, n_classes).
        labels: shape (n_predictions,).
        parts: of each prediction, shape (n_predictions,), at least two; all predictions of an image are in one.
    """
    after = np.empty_like(probabilities)
    for part in np.unique(parts):
        own = parts == part
        after[own] = _tempered(probabilities[own], fit_temperature(probabilities[~own], labels[~own]))
    return Calibration(
        temperature=fit_temperature(probabilities, labels),
        log_loss_before=_log_loss(probabilities, labels),
        log_loss_after=_log_loss(after, labels),
        error_before=_error(probabilities, labels),
        error_after=_error(after, labels),
    )


def fit_temperature(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature, from LEAST to MOST, with the lowest log loss; see `at_temperature`.

    Args:
        probabilities: shape (n_predictions, n_classes).
        labels: shape (n_predictions,).
    """

    def loss(log_temperature: float) -> float:
        return _log_loss(_tempered(probabilities, math.exp(log_temperature)), labels)

    found = minimize_scalar(loss, bounds=(math.log(LEAST), math.log(MOST)), method="bounded")
    return math.exp(float(found.x))


def _tempered(probabilities: Floats, temperature: float) -> Floats:
    """The tables round probabilities, and a rounded 0 would stay 0 at every temperature."""
    return at_temperature(np.maximum(probabilities, SMALLEST_PROBABILITY), temperature)


def _log_loss(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    return -float(MEASURES["log_loss"].scores(probabilities, labels).mean())


def _error(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels)
