import math

import pytest
import torch

import search.training.fit
from search.space import Configuration, TrainingConfig
from search.training.device import Device
from search.training.speed import PROBE_BATCHES, WARM_UP_BATCHES, latency_ms, training_speed
from wbcmodels.config import PLACEMENTS, ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_probe_gives_a_speed_and_a_latency(placement):
    model = ModelConfig(placement=placement, width=0.125, input_px=12)
    speed = training_speed(
        Configuration(model=model, training=TrainingConfig(epochs=2, lr=0.01, batch_size=4)), CPU
    )
    assert math.isfinite(speed)
    assert speed > 0
    latency = latency_ms(model, CPU)
    assert math.isfinite(latency)
    assert latency > 0


def test_a_larger_network_is_slower():
    small, large = (
        latency_ms(ModelConfig(width=width, input_px=side), CPU) for width, side in ((0.125, 12), (0.5, 48))
    )
    assert small < large  # some 60 times, so that a busy machine does not turn it round


def test_a_probe_shows_one_epoch_alone(monkeypatch):
    # However long the training is, a probe takes its few batches.
    seen, augment = [], search.training.fit.flips_and_quarter_turns

    def count(images, generator):
        seen.append(len(images))
        return augment(images, generator)

    monkeypatch.setattr(search.training.fit, "flips_and_quarter_turns", count)
    configuration = Configuration(
        model=ModelConfig(width=0.125, input_px=12),
        training=TrainingConfig(epochs=1000, lr=0.01, batch_size=4),
    )
    training_speed(configuration, CPU)
    assert sum(seen) == 4 * (PROBE_BATCHES + WARM_UP_BATCHES)
