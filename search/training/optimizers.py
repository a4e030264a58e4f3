"""Optimizers of a network's trainable parameters, which resume exactly from a state by parameter name."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from search.space import TrainingConfig
from search.training.adamw import AdamW
from search.training.muon import Muon
from search.training.sgd import SGD


class Optimizer(Protocol):
    """What updates a network's parameters."""

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the next steps."""
        ...

    def zero_grad(self) -> None:
        """Drop all gradients."""
        ...

    def step(self) -> None:
        """Update all parameters from their gradients."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a resumed training needs besides the weights, by parameter and entry."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of another optimizer of the same network.

        Raises:
            KeyError: the state is of a different network; contains the parameter's name.
        """
        ...


def make_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """The optimizer that a configuration asks for, of all parameters that require gradients."""
    match config.optimizer:
        case "sgd":
            return SGD(network, config)
        case "adamw":
            return AdamW(network, config)
        case "muon":
            return Muon(network, config)


def is_plain(config: TrainingConfig) -> bool:
    """Whether a step is only a fused kernel's update, so that it can be recorded, or made piece by piece."""
    return config.optimizer != "muon" and config.clip_norm is None and config.ema_decay is None
