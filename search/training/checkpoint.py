"""Checkpoints: the state of a training between two epochs, as bytes that contain no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

_SHIFTS = "shifts"
_WEIGHTS, _OPTIMIZER, _AVERAGE, _FINISHED = "weights.", "optimizer.", "average.", "finished."

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state from which a training resumes as if it had never been interrupted.

    Attributes:
        epoch: finished epochs of the current fold; 0 between two folds, where there are no weights.
        train_s: seconds trained in this fold so far.
        weights: the network's state by name.
        optimizer: the optimizer's state by parameter name and entry.
        average: the averaged weights' state by name; empty where none is kept.
        finished: probabilities (n_val, n_classes) of the finished folds; empty outside a search.
        shifts: mean balanced accuracy of each finished fold on further laboratories; empty without any.
    """

    epoch: int
    train_s: float = 0.0
    weights: Arrays = field(default_factory=dict)
    optimizer: Arrays = field(default_factory=dict)
    average: Arrays = field(default_factory=dict)
    finished: tuple[NDArray[np.float64], ...] = ()
    shifts: tuple[float, ...] = ()

    def to_bytes(self) -> bytes:
        """The checkpoint as safetensors."""
        arrays = {
            "epoch": np.array(self.epoch),
            "train_s": np.array(self.train_s),
            **({_SHIFTS: np.array(self.shifts)} if self.shifts else {}),
            **{_WEIGHTS + name: value for name, value in self.weights.items()},
            **{_OPTIMIZER + name: value for name, value in self.optimizer.items()},
            **{_AVERAGE + name: value for name, value in self.average.items()},
            **{f"{_FINISHED}{fold:04d}": found for fold, found in enumerate(self.finished)},
        }
        # save() writes an array's memory as it is, so it must be in C order.
        return save({name: np.asarray(value, order="C") for name, value in arrays.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            ValueError: the bytes are not a checkpoint.
        """
        try:
            arrays = load(data)
            epoch, train_s = arrays.pop("epoch"), arrays.pop("train_s")
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"not a checkpoint: {error}") from error
        if epoch.dtype != np.int64 or epoch.size != 1 or int(epoch) < 0:
            raise ValueError("not a checkpoint: its epoch is not a whole number of at least 0")
        shifts = arrays.pop(_SHIFTS, np.empty(0))
        finished = sorted(name for name in arrays if name.startswith(_FINISHED))
        return cls(
            epoch=int(epoch),
            train_s=float(train_s),
            weights=_under(_WEIGHTS, arrays),
            optimizer=_under(_OPTIMIZER, arrays),
            average=_under(_AVERAGE, arrays),
            finished=tuple(arrays[name] for name in finished),
            shifts=tuple(float(value) for value in shifts),
        )

    @property
    def position(self) -> tuple[int, int]:
        """Number of finished folds, and of finished epochs of the next one."""
        return len(self.finished), self.epoch


def _under(prefix: str, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
