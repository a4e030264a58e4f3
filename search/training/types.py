"""Values that pass between driver and workers: images, tasks, and what trainings return."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.common.metrics import Metrics
from search.data.splits import Indices
from search.space import Configuration
from search.training.typical import Typical

Way = Literal["scratch", "frozen", "fine_tuned"]
Untouched = Literal["untouched", "untouched_adapted"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """The part of a data set that workers need; they share it without a copy.

    Attributes:
        pixels: side in px -> uint8, (n_images, side, side, 3).
        labels: int64, (n_images,).
    """

    pixels: dict[int, NDArray[np.uint8]]
    labels: NDArray[np.int64]
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A data set that a trained network is scored on as it is; no training sees it.

    Attributes:
        data: its name.
        phase: of its rows in the tables: the target is scored untouched, further laboratories to see a shift.
        classes: for each of its classes, the network's class of the same name, or -1; images of a class that the
            network lacks are not scored.
        adapt: score the network once more with its batch norms' statistics adapted to all of the images, whose
            labels are not used.
    """

    data: str
    phase: Literal["untouched", "shift"] = "untouched"
    classes: tuple[int, ...]
    adapt: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network to train once.

    Attributes:
        train, val: image indices; if `val` is empty, the result has no scores.
        seed: determines the initial weights, batch order, augmentation and dropout.
        way: "frozen" trains a new head on given weights, "fine_tuned" the whole network, starting from them.
        validate_once: score `val` after the last epoch only, instead of every epoch.
        keep_weights: return the trained weights, and what the training images look like to them.
        elsewhere: further data sets that the trained network is scored on.
    """

    configuration: Configuration
    train: Indices
    val: Indices
    seed: int
    way: Way = "scratch"
    validate_once: bool = False
    keep_weights: bool = False
    elsewhere: tuple[Elsewhere, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """One epoch of training; loss and accuracy are those of the training batches, before their updates.

    Attributes:
        train_s: seconds of training, including `data_s` seconds of augmenting and normalising images.
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    train_s: float
    data_s: float


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, on the scale 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class EpochScore:
    """An epoch, the metrics on the validation images after it (None without any), and their seconds `val_s`."""

    training: EpochResult
    validation: Metrics | None
    val_s: float


@dataclass(frozen=True, kw_only=True)
class ElsewhereScore:
    """A trained network on a data set that it was not trained on.

    Attributes:
        phase: see `Elsewhere`.
        indices: of the images whose class the network has.
        metrics: over the classes that both have.
        probabilities: (n_indices, n_classes), of all classes of the network.
    """

    data: str
    phase: Literal["untouched", "shift"]
    way: Untouched
    indices: Indices
    metrics: Metrics
    probabilities: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FoldScore:
    """A finished training.

    Attributes:
        probabilities: (n_val, n_classes), in the order of the task's `val`.
        train_s: seconds of training, without validation.
        weights: safetensors bytes, if the task keeps them.
        typical: what the training images look like to the network, if the task keeps its weights.
        elsewhere: scores on the task's further data sets.
    """

    n_train: int
    n_val: int
    metrics: Metrics | None
    probabilities: NDArray[np.float64]
    normalisation: Normalisation
    train_s: float
    weights: bytes | None = field(repr=False)
    typical: Typical | None = field(default=None, repr=False)
    # Its arrays have rows for thousands of images, and Ray Tune formats its results with repr().
    elsewhere: tuple[ElsewhereScore, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One epoch of a training.

    Attributes:
        fold: number of the fold in a trial; else 0.
        score: of a fold, with its last epoch.
        pooled: over all folds of a trial, with its last epoch.
        shift_balanced_accuracy: mean over a trial's further laboratories and folds, with its last epoch.
        checkpoint: to resume after this epoch, as bytes; None with the last epoch, and if checkpoints are large
            and one was just taken.
        trace: of the epoch, as a gzipped Chrome trace, if one was requested.
    """

    fold: int = 0
    epoch: EpochScore
    score: FoldScore | None = None
    pooled: Metrics | None = None
    shift_balanced_accuracy: float | None = None
    # Ray Tune formats its results with repr() at every step, which takes seconds for megabytes.
    checkpoint: bytes | None = field(default=None, repr=False)
    trace: bytes | None = field(default=None, repr=False)


def epoch_row(epoch: EpochScore) -> dict[str, float | int | None]:
    """An epoch by the column names of the epochs table."""
    validation = epoch.validation
    return {
        **vars(epoch.training),  # asdict copies every value, which takes longer than to write the row
        "val_loss": validation and validation.log_loss,
        "val_accuracy": validation and validation.accuracy,
        "val_balanced_accuracy": validation and validation.balanced_accuracy,
        "val_macro_f1": validation and validation.macro_f1,
        "val_s": epoch.val_s,
    }
