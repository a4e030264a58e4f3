"""What the builders of networks share."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Literal

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a generator in this state; afterwards torch's global generator is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def optional_module(name: str, install: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ValueError: it is not installed; says what to `pip install`.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"the package {name} is missing: pip install {install}") from error


def he_initialise(network: nn.Module, head: str) -> None:
    """Draw the weights of convolutions and linear layers, set their biases to 0, and reset batch norms.

    Source: He et al. 2015, "Delving Deep into Rectifiers", fan-in mode. No ReLU follows the head: its gain is 1.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain: Literal["linear", "relu"] = "linear" if name == head else "relu"
            nn.init.kaiming_normal_(module.weight, nonlinearity=gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
