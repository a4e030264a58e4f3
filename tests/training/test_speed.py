import math

import numpy as np
import pytest
import torch

from search.space import Configuration, TrainingConfig
from search.training.device import Device
from search.training.speed import LATENCY_TOLERANCE, latencies_ms, memory_share, repeated_ratio, training_speed
from wbcmodels.config import ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)


@pytest.mark.parametrize("placement", ["none", "1+2+3"])
def test_a_probe_takes_a_few_batches_of_however_long_a_training(placement):
    model = ModelConfig(placement=placement, width=0.125, input_px=12)
    training = TrainingConfig(epochs=10**6, lr=0.01, batch_size=4)
    configuration = Configuration(model=model, training=training)
    measured = training_speed(configuration, 5, CPU)
    assert math.isfinite(measured)
    assert measured > 0
    assert memory_share(configuration, 5, CPU) == 0


def test_a_larger_network_is_slower():
    sizes = ((0.125, 12), (0.5, 48), (0.125, 12))
    small, large, again = latencies_ms([ModelConfig(width=w, input_px=side) for w, side in sizes], 5, CPU)
    assert not large <= small  # about 60 times, far beyond the noise of a busy machine; NaN if it does not repeat
    assert math.isnan(again) or again == pytest.approx(small, rel=0.5)


def test_a_ratio_counts_only_if_it_repeats():
    rng = np.random.default_rng(0)
    steady = 2 + rng.normal(0, 0.05, 60)
    assert repeated_ratio(steady) == pytest.approx(2, rel=0.02)
    spiked = np.where(rng.random(60) < 0.2, 50.0, steady)  # what else the machine does now and then
    assert repeated_ratio(spiked) == pytest.approx(2, rel=0.05)
    drifting = np.resize([2.0, 2 * (1 + 1.1 * LATENCY_TOLERANCE)], 60)
    assert math.isnan(repeated_ratio(drifting))
