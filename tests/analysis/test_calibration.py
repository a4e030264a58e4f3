"""A temperature undoes what made probabilities too sharp, changes no choice, and is judged on other images."""

import numpy as np
import pytest

from search.analysis.calibration import LEAST, MOST, calibrate, fit_temperature
from search.common.metrics import at_temperature, calibration_error

N, K = 4000, 4


def drawn(sharpness, seed=0, n=N):
    """Probabilities that are too sharp by a factor on the logits, and labels as the true ones say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, K))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((n, 1)) > true.cumsum(1)).sum(1).clip(0, K - 1)
    sharp = np.exp(sharpness * logits)
    return sharp / sharp.sum(1, keepdims=True), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_undoes_what_made_probabilities_too_sharp(sharpness):
    probabilities, labels = drawn(sharpness)
    assert fit_temperature(probabilities, labels) == pytest.approx(sharpness, rel=0.08)


def test_calibrated_predictions_lose_less_and_err_less():
    probabilities, labels = drawn(3.0)
    found = calibrate(probabilities, labels, np.arange(N) % 5)
    assert found.log_loss_after < found.log_loss_before
    assert found.error_after < found.error_before
    right = probabilities.argmax(1) == labels
    assert found.error_before == pytest.approx(calibration_error(probabilities.max(1), right))
    tempered = at_temperature(probabilities, found.temperature)
    assert (tempered.argmax(1) == probabilities.argmax(1)).all()


def test_what_it_is_worth_is_told_by_parts_it_was_not_fitted_to():
    sharp, labels = drawn(4.0, n=400)
    flat, others = drawn(0.5, seed=1, n=400)
    probabilities, parts = np.concatenate([sharp, flat]), np.repeat([0, 1], 400)
    found = calibrate(probabilities, np.concatenate([labels, others]), parts)
    # Each half asks for the opposite of the other: fitted to itself it would gain, to the other it loses.
    assert found.log_loss_after > found.log_loss_before


def test_the_order_of_predictions_does_not_matter():
    probabilities, labels = drawn(2.0, n=300)
    parts, order = np.arange(300) % 3, np.random.default_rng(2).permutation(300)
    one, other = (
        calibrate(probabilities, labels, parts),
        calibrate(probabilities[order], labels[order], parts[order]),
    )
    assert one.temperature == pytest.approx(other.temperature, rel=1e-3)
    assert one.log_loss_after == pytest.approx(other.log_loss_after, rel=1e-3)


def test_few_images_ask_for_no_extreme_temperature():
    certain = np.full((6, K), 0.01) + 0.96 * np.eye(K)[[0, 1, 2, 3, 0, 1]]
    right, wrong = certain.argmax(1), (certain.argmax(1) + 1) % K
    assert LEAST <= fit_temperature(certain, right) < 1
    assert 1 < fit_temperature(certain, wrong) <= MOST


def test_a_probability_that_the_tables_round_to_0_does_not_decide_alone():
    probabilities, labels = drawn(2.0)
    probabilities[0] = np.eye(K)[(labels[0] + 1) % K]
    assert fit_temperature(probabilities, labels) == pytest.approx(2.0, rel=0.1)
