"""Feature maps and class activation, from their definitions."""

import numpy as np
import pytest
import torch
from safetensors.torch import save

from search.training.batches import normalise
from search.training.featuremaps import class_activation, feature_maps
from search.training.trainedmodel import TrainedModel
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig


def trained(placement):
    config = ModelConfig(placement=placement, norm="batch", dropout=0.3, input_px=20, width=0.125)
    normalisation = Normalisation(mean=(120.0, 100.0, 140.0), std=(50.0, 40.0, 60.0))
    weights = save(config.build(3, seed=1).state_dict())
    return TrainedModel(config=config, normalisation=normalisation, classes=("a", "b", "c"), weights=weights)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 255, (5, 20, 20, 3), dtype=np.uint8)


def test_feature_maps_are_those_of_the_network_in_evaluation(images):
    model = trained("1+3")
    network = model.build().eval()
    maps = feature_maps(model, images)
    assert [*maps] == ["stage1", "stage2", "stage3"]
    x = normalise(torch.from_numpy(images), model.normalisation)
    for stage in maps:
        x = getattr(network, stage)(x)
        np.testing.assert_allclose(maps[stage], x.detach().numpy(), rtol=1e-5, atol=1e-6)
    alone = feature_maps(model, images[:1])
    np.testing.assert_allclose(alone["stage3"], maps["stage3"][:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("placement", ["none", "3"])
def test_activation_is_grad_cam(images, placement):
    model = trained(placement)
    network = model.build().eval()
    found = class_activation(model, images)
    assert found.min() >= 0
    assert found.max() == pytest.approx(1)
    for image, heat in zip(images, found, strict=True):
        maps = normalise(torch.from_numpy(image[None]), model.normalisation)
        for stage in (network.stage1, network.stage2, network.stage3):
            maps = stage(maps)
        maps = maps.detach().requires_grad_()
        logits = network.fc2(torch.relu(network.fc1(maps.permute(0, 2, 3, 1).flatten(1))))[0]
        (slope,) = torch.autograd.grad(logits.max(), maps)
        wanted = torch.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1))[0].detach().numpy()
        np.testing.assert_allclose(heat, wanted / (wanted.max() or 1), rtol=1e-3, atol=1e-4)
