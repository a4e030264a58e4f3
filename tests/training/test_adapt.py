import copy

import pytest
import torch
from torch import nn

from search.training.adapt import adapt_norms, has_batch_norms
from search.training.batches import normalise
from search.training.device import Device
from search.training.fit import evaluate, on_device
from search.training.types import Normalisation
from wbcmodels.config import PLACEMENTS, ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES = 12, 300  # more than one batch
NORMALISATION = Normalisation(mean=(120.0, 110.0, 130.0), std=(60.0, 50.0, 40.0))


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (N_IMAGES, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def network(placement="1", norm="batch"):
    config = ModelConfig(placement=placement, norm=norm, width=0.125, input_px=SIDE, dropout=0.0)
    return on_device(config.build(3, 0), CPU).eval()


def adapted(model, seed=0):
    return adapt_norms(model, images(seed), NORMALISATION, CPU)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_adapted_norms_compute_as_a_training_step_on_all_images_does(placement):
    model = network(placement)
    whole = copy.deepcopy(model).train()
    batch = normalise(images(), NORMALISATION)
    with torch.no_grad():
        assert torch.allclose(adapted(model)(batch), whole(batch), rtol=1e-3, atol=1e-3)


def test_the_network_itself_and_its_parameters_stay_as_they_are():
    model = network("1+2+3")
    before = copy.deepcopy(model.state_dict())
    changed = adapted(model).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, value in changed.items():
        assert torch.equal(value, before[name]) != name.endswith(("running_mean", "running_var")), name


def test_images_in_another_light_are_classified_as_before():
    # Half the contrast and more light change the statistics, and besides only what lies next to the padding.
    model = adapted(network("1"))
    bright = (images().float() / 2 + 100).round().byte()
    everything = torch.arange(N_IMAGES)
    was = evaluate(model, images(), everything, NORMALISATION, CPU)
    untouched = evaluate(model, bright, everything, NORMALISATION, CPU)
    matched = evaluate(adapt_norms(model, bright, NORMALISATION, CPU), bright, everything, NORMALISATION, CPU)
    assert abs(matched - was).mean() < abs(untouched - was).mean() / 2


def test_the_order_of_the_images_does_not_matter():
    model, mixed = network("2"), images()[torch.randperm(N_IMAGES, generator=torch.Generator().manual_seed(1))]
    one, other = adapted(model), adapt_norms(model, mixed, NORMALISATION, CPU)
    for value, again in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.allclose(value.double(), again.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["group", "instance", "none"])
def test_without_batch_norms_the_copy_is_equal(norm):
    model = network(norm=norm)
    copied = adapted(model)
    assert copied is not model
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in copied.state_dict().items())
    assert not has_batch_norms(network(norm=norm))
    assert has_batch_norms(network())


def test_norms_of_other_kinds_of_networks_are_adapted_in_the_order_of_use():
    class Backwards(nn.Module):
        """Its modules are registered in another order than they are used in."""

        def __init__(self):
            super().__init__()
            self.last, self.first = nn.BatchNorm1d(4), nn.BatchNorm2d(3)
            self.linear = nn.Linear(3, 4)
            self.unused = nn.BatchNorm2d(5)

        def forward(self, x):
            return self.last(self.linear(self.first(x).square().mean((2, 3))))

    model = Backwards().eval()
    # Random weights may give a variance so small that the norm's epsilon shows.
    nn.init.constant_(model.linear.weight, 10.0)
    outputs = adapted(model)(normalise(images(), NORMALISATION))
    assert torch.allclose(outputs.mean(0), torch.zeros(4), atol=1e-3)
    assert torch.allclose(outputs.std(0), torch.ones(4), atol=1e-2)
    assert torch.equal(adapted(model).unused.running_mean, torch.zeros(5))
