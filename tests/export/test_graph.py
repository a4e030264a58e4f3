"""The graph does to images what the program does to them."""

import numpy as np
import pytest
import torch
from random_model import photos, trained

from search.data.decode import resize_square
from search.export.check import FLOAT32
from search.export.graph import Classifier, PhotoClassifier, resized_squares, whitened
from search.space import Preparation
from search.training.prepare import prepare

SIZES = [(1, 1), (7, 5), (16, 16), (17, 16), (24, 90), (33, 32), (64, 64), (150, 149), (211, 97)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("side", [16, 32])
def test_images_are_scaled_as_pillow_scales_them(height, width, side):
    noise = np.random.default_rng(height).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    for images in (noise, photos(2, height, width)):
        expected = np.stack([resize_square(image, side) for image in images])
        assert np.array_equal(resized_squares(torch.from_numpy(images), side).numpy(), expected)


@pytest.mark.parametrize("side", [3, 16, 21])
def test_the_background_becomes_white_as_in_a_prepared_laboratory(side):
    images = np.random.default_rng(side).integers(0, 200, (8, side, side, 3), dtype=np.uint8)
    images[0] = 0
    expected = prepare(images, Preparation(stain="white"))
    assert np.array_equal(whitened(torch.from_numpy(images)).numpy(), expected)


@pytest.mark.parametrize("stain", ["kept", "white"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_probabilities_are_those_of_the_trained_network(stain, temperature):
    model, images = trained(temperature=temperature, preparation=Preparation(stain=stain)), photos(5, 40, 33)
    squares = np.stack([resize_square(image, 16) for image in images])
    expected = model.predict(squares, FLOAT32)
    with torch.no_grad():
        found, logits = Classifier(model)(torch.from_numpy(squares))
        whole, _ = PhotoClassifier(model)(torch.from_numpy(images))
    assert found.numpy() == pytest.approx(expected, abs=1e-6)
    assert whole.numpy() == pytest.approx(expected, abs=1e-6)
    assert (logits / temperature).softmax(1).numpy() == pytest.approx(expected, abs=1e-6)
    assert expected.std(0).max() > 1e-4  # images differ
