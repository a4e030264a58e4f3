"""The state of a training between two epochs, as bytes that hold numbers and nothing that could be run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_WEIGHTS, _MOMENTUM, _FINISHED = "weights.", "momentum.", "finished."


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a training needs to go on as if it had never been interrupted.

    Attributes:
        epoch: finished epochs of the fold under way; 0 between two folds, where there are no weights.
        train_s: seconds trained in this fold so far.
        weights: the network's state by name.
        momentum: the optimizer's, by its parameters' names.
        finished: probabilities (n_val, n_classes) of the folds that are finished; none outside a search.
    """

    epoch: int
    train_s: float = 0.0
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    momentum: Mapping[str, Tensor] = field(default_factory=dict)
    finished: tuple[NDArray[np.float64], ...] = ()

    def to_bytes(self) -> bytes:
        """The checkpoint as safetensors."""
        tensors = {
            "epoch": torch.tensor(self.epoch),
            "train_s": torch.tensor(self.train_s, dtype=torch.float64),
            **{_WEIGHTS + name: value for name, value in self.weights.items()},
            **{_MOMENTUM + name: value for name, value in self.momentum.items()},
            **{f"{_FINISHED}{fold:04d}": torch.from_numpy(found) for fold, found in enumerate(self.finished)},
        }
        return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            ValueError: the bytes are no checkpoint.
        """
        try:
            tensors = load(data)
            epoch, train_s = tensors.pop("epoch"), tensors.pop("train_s")
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"this is no checkpoint: {error}") from error
        if epoch.dtype != torch.int64 or epoch.numel() != 1 or int(epoch) < 0:
            raise ValueError("this is no checkpoint: its epoch is not a number of epochs")
        finished = sorted(name for name in tensors if name.startswith(_FINISHED))
        return cls(
            epoch=int(epoch),
            train_s=float(train_s),
            weights=_under(_WEIGHTS, tensors),
            momentum=_under(_MOMENTUM, tensors),
            finished=tuple(tensors[name].numpy() for name in finished),
        )

    @property
    def position(self) -> tuple[int, int]:
        """Finished folds, and finished epochs of the next one."""
        return len(self.finished), self.epoch


def state_of(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, epoch: int, train_s: float
) -> Checkpoint:
    """The state of a training after an epoch; it refers to the tensors in training, so save it before going on."""
    momentum = {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
    }
    return Checkpoint(epoch=epoch, train_s=train_s, weights=model.state_dict(), momentum=momentum)


def restore(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Bring a network and its optimizer, made anew, to where a checkpoint was taken.

    Raises:
        RuntimeError: the checkpoint is of another network.
    """
    model.load_state_dict(dict(checkpoint.weights))
    for name, parameter in model.named_parameters():
        if name in checkpoint.momentum:
            buffer = torch.empty_like(parameter)  # in the parameter's device and memory order
            optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(checkpoint.momentum[name])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
