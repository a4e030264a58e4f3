import numpy as np
import torch
from torch import nn

from search.training.device import Device
from search.training.evaluated import evaluate_with_features
from search.training.fit import EVALUATION_BATCH, evaluate
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)
PLAIN = Normalisation(mean=(120.0, 120.0, 120.0), std=(50.0, 50.0, 50.0))
IMAGES = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (EVALUATION_BATCH + 3, 16, 16, 3), dtype=np.uint8)
)
SOME = torch.arange(len(IMAGES)).flip(0)


def test_features_are_what_the_probabilities_are_made_from():
    network = ModelConfig(placement="1", width=0.125, input_px=16).build(3, seed=0)
    probabilities, features = evaluate_with_features(network, IMAGES, SOME, PLAIN, CPU)
    with torch.no_grad():
        again = torch.softmax(network.fc2(torch.from_numpy(features)).double(), dim=1).numpy()
    np.testing.assert_allclose(probabilities, again, atol=1e-5)
    assert np.array_equal(probabilities, evaluate(network, IMAGES, SOME, PLAIN, CPU))
    assert not network.fc2._forward_pre_hooks


class OfEveryPixel(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, images_NCHW):
        return self.head(images_NCHW.permute(0, 2, 3, 1)).mean((1, 2))


def test_networks_without_vectors_before_their_last_layer_have_no_features():
    convolution = nn.Sequential(nn.Conv2d(3, 2, 16), nn.Flatten())
    for network in (convolution, OfEveryPixel()):
        probabilities, features = evaluate_with_features(network, IMAGES, SOME, PLAIN, CPU)
        assert features is None
        assert probabilities.shape == (len(SOME), 2)
