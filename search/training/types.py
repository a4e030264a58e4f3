"""What a training is given and what it gives back: plain values, which pass between driver and workers."""

from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.common.metrics import Metrics
from search.data.splits import Indices
from search.space import Configuration

Way = Literal["scratch", "frozen", "fine_tuned"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """What a worker needs of a data set; made to be shared by all of them without a copy.

    Attributes:
        pixels: side in px -> uint8, (n_images, side, side, 3).
        labels: int64, (n_images,).
    """

    pixels: dict[int, NDArray[np.uint8]]
    labels: NDArray[np.int64]
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training to do.

    Attributes:
        train, val: image indices; `val` may be empty, and the result then has no scores.
        seed: of the initial weights, batch order, augmentation and dropout.
        way: "frozen" trains a new FC2 on top of given weights, "fine_tuned" all of the network from them.
        validate_once: score `val` after the last epoch only, and not after every one.
        keep_weights: return the trained weights.
    """

    configuration: Configuration
    train: Indices
    val: Indices
    seed: int
    way: Way = "scratch"
    validate_once: bool = False
    keep_weights: bool = False


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch of training gave; loss and accuracy are of the batches as they were trained on.

    Attributes:
        train_s: seconds, of which `data_s` went into turning and normalising images.
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    train_s: float
    data_s: float


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Mean and standard deviation of each colour channel, in units of 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class EpochScore:
    """An epoch and the metrics on the validation images after it (None without any), which took `val_s`."""

    training: EpochResult
    validation: Metrics | None
    val_s: float


@dataclass(frozen=True, kw_only=True)
class FoldScore:
    """A finished training.

    Attributes:
        probabilities: (n_val, n_classes), in the order of the task's `val`.
        train_s: seconds in training, without validation.
        weights: safetensors bytes if they were asked for.
    """

    n_train: int
    n_val: int
    metrics: Metrics | None
    probabilities: NDArray[np.float64]
    normalisation: Normalisation
    train_s: float
    weights: bytes | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One epoch of a training.

    Attributes:
        fold: in a trial, number of the fold; else 0.
        score: with the last epoch of a fold.
        pooled: with the last epoch of a trial, over all its folds.
        checkpoint: to go on from after this epoch, as bytes; None with the last, and where one was taken a moment
            ago and they are large.
        trace: what the epoch's time went into, as a gzipped Chrome trace, where it was asked for.
    """

    fold: int = 0
    epoch: EpochScore
    score: FoldScore | None = None
    pooled: Metrics | None = None
    # Ray Tune puts what it is given in words at every step, and megabytes of them take seconds.
    checkpoint: bytes | None = field(default=None, repr=False)
    trace: bytes | None = field(default=None, repr=False)


def epoch_row(epoch: EpochScore) -> dict[str, float | int | None]:
    """An epoch under the column names of the epochs table."""
    validation = None if epoch.validation is None else asdict(epoch.validation)
    return {
        **asdict(epoch.training),
        "val_loss": validation and validation["log_loss"],
        "val_accuracy": validation and validation["accuracy"],
        "val_balanced_accuracy": validation and validation["balanced_accuracy"],
        "val_macro_f1": validation and validation["macro_f1"],
        "val_s": epoch.val_s,
    }
