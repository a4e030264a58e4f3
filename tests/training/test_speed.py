import math

import pytest
import torch

from search.space import Configuration, TrainingConfig
from search.training.device import Device
from search.training.speed import latency_ms, memory_share, training_speed
from wbcmodels.config import ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)


@pytest.mark.parametrize("placement", ["none", "1+2+3"])
def test_a_probe_takes_a_few_batches_of_however_long_a_training(placement):
    model = ModelConfig(placement=placement, width=0.125, input_px=12)
    training = TrainingConfig(epochs=10**6, lr=0.01, batch_size=4)
    configuration = Configuration(model=model, training=training)
    for measured in (training_speed(configuration, 5, CPU), latency_ms(model, 5, CPU)):
        assert math.isfinite(measured)
        assert measured > 0
    assert memory_share(configuration, 5, CPU) == 0


def test_a_larger_network_is_slower():
    small, large = (
        latency_ms(ModelConfig(width=width, input_px=side), 5, CPU) for width, side in ((0.125, 12), (0.5, 48))
    )
    assert small < large  # about 60 times, far beyond the noise of a busy machine
