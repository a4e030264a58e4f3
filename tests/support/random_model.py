"""Trained networks with random weights, and images of any size, for what leaves a study."""

import numpy as np
from PIL import Image
from safetensors.torch import save
from written_study import CLASSES

from search.training.trainedmodel import TrainedModel
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig
from wbcmodels.network import build_network

FAMILY = ModelConfig(placement="1", width=0.125, input_px=16)


def trained(config=FAMILY, classes=CLASSES, **changes):
    """A trained network; its weights are random, and small enough to leave probabilities open."""
    state = build_network(config, len(classes), seed=3).state_dict()
    return TrainedModel(
        config=config,
        normalisation=Normalisation(mean=(120.0, 100.0, 130.0), std=(90.0, 120.0, 75.0)),
        classes=tuple(classes),
        weights=save({name: value.contiguous() for name, value in state.items()}),
        **({"temperature": 1.7} | changes),
    )


def photos(n, height, width, seed=0):
    """Smooth noise, uint8 (n, height, width, 3)."""
    rough = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height))) for each in rough])
