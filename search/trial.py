"""One configuration over its folds. Knows no scheduler: it yields what happens, and may not be asked to go on."""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights

from search.checkpoint import Checkpoint, restore, state_of
from search.data.splits import Indices, Split
from search.device import Device
from search.metrics import Metrics, score
from search.seeds import derive_seed
from search.space import Configuration
from search.training import EpochResult, Normalisation, evaluate, fit, make_optimizer, on_device
from wbcmodels.cost import n_parameters
from wbcmodels.family import WBCsNet, build, replace_head

Way = Literal["scratch", "frozen", "fine_tuned"]
# A checkpoint above 4 MB is taken when it costs little beside the training since the one before: a network of a
# quarter of the paper's width, 20 MB with its momentum, every 5 seconds, the paper's own, 600 MB, every 150.
SMALL_CHECKPOINT_BYTES, CHECKPOINT_BYTES_PER_S = 4_000_000, 4_000_000


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
class EpochScore:
    """An epoch and the metrics on the validation images after it (None without any)."""

    training: EpochResult
    validation: Metrics | None


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
    """

    fold: int = 0
    epoch: EpochScore
    score: FoldScore | None = None
    pooled: Metrics | None = None
    # Ray Tune puts what it is given in words at every step, and megabytes of them take seconds.
    checkpoint: bytes | None = field(default=None, repr=False)


def run_task(
    task: Task,
    images: Images,
    device: Device,
    weights: bytes | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Step]:
    """Train and validate once, and yield after every epoch.

    Args:
        weights: safetensors bytes to start from, of a network that differs from the task's at most in its
            classes; its FC2 is replaced.
        checkpoint: of the same task; the epochs before it are not yielded again.
    Raises:
        DivergedError: a loss or an output that is not finite.
        ValueError: the images are not there at the network's input side.
    """
    model_config = replace(task.configuration.model, n_classes=images.n_classes)
    if model_config.input_px not in images.pixels:
        raise ValueError(
            f"the images were decoded at {sorted(images.pixels)} px, but not at {model_config.input_px}"
        )
    pixels = shared_tensor(images.pixels[model_config.input_px]).to(device.device)
    labels = shared_tensor(images.labels).to(device.device)
    train, val = (shared_tensor(indices).to(device.device) for indices in (task.train, task.val))
    normalisation = Normalisation.of(pixels, train)
    model = on_device(_starting_model(task, images.n_classes, weights), device)
    optimizer = make_optimizer(model, task.configuration.training)
    checkpoint = checkpoint or Checkpoint(epoch=0)
    if checkpoint.epoch:
        restore(checkpoint, model, optimizer)

    train_s, metrics = checkpoint.train_s, None
    probabilities = np.empty((0, images.n_classes))
    saved_at = time.monotonic()
    size = 8 * n_parameters(model_config)  # weights and momentum, 4 bytes each
    pause_s = size / CHECKPOINT_BYTES_PER_S if size > SMALL_CHECKPOINT_BYTES else 0.0
    for epoch in fit(
        model,
        optimizer,
        pixels,
        labels,
        train,
        task.configuration.training,
        normalisation,
        n_classes=images.n_classes,
        seed=task.seed,
        device=device,
        epochs_done=checkpoint.epoch,
    ):
        train_s += epoch.train_s
        last = epoch.epoch == task.configuration.training.epochs
        if len(task.val) and (last or not task.validate_once):
            probabilities = evaluate(model, pixels, val, normalisation, device)
            metrics = score(images.labels[task.val], probabilities)
        epoch_score = EpochScore(training=epoch, validation=metrics)
        if last:
            yield Step(
                epoch=epoch_score,
                score=FoldScore(
                    n_train=len(task.train),
                    n_val=len(task.val),
                    metrics=metrics,
                    probabilities=probabilities,
                    normalisation=normalisation,
                    train_s=train_s,
                    weights=save_weights(_portable(model)) if task.keep_weights else None,
                ),
            )
        elif time.monotonic() - saved_at < pause_s:
            yield Step(epoch=epoch_score)
        else:
            state = replace(
                state_of(model, optimizer, epoch=epoch.epoch, train_s=train_s), finished=checkpoint.finished
            )
            yield Step(epoch=epoch_score, checkpoint=state.to_bytes())
            saved_at = time.monotonic()


def run_trial(
    configuration: Configuration,
    splits: Sequence[Split],
    images: Images,
    seed: int,
    device: Device,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Step]:
    """Train a configuration on its folds, one after another in their given order, and yield after every epoch.

    Args:
        seed: of the study; every trial draws the same weights and batches for a fold, so that trials differ by
            their configuration alone.
        checkpoint: of the same trial; the epochs before it are not yielded again.
    Raises:
        DivergedError: a loss or an output that is not finite.
    """
    checkpoint = checkpoint or Checkpoint(epoch=0)
    finished = list(checkpoint.finished)
    for fold in range(len(finished), len(splits)):
        split = splits[fold]
        task = Task(
            configuration=configuration,
            train=split.train,
            val=split.val,
            seed=derive_seed(seed, "search", fold),
        )
        for step in run_task(task, images, device, checkpoint=checkpoint):
            if step.score is None:
                yield replace(step, fold=fold)
                continue
            finished.append(step.score.probabilities)
            if len(finished) == len(splits):
                labels = np.concatenate([images.labels[split.val] for split in splits])
                yield replace(step, fold=fold, pooled=score(labels, np.concatenate(finished)))
            else:
                checkpoint = Checkpoint(epoch=0, finished=tuple(finished))
                yield replace(step, fold=fold, checkpoint=checkpoint.to_bytes())


def epoch_row(epoch: EpochScore) -> dict[str, float | int | None]:
    """An epoch under the column names of the epochs table."""
    validation = None if epoch.validation is None else asdict(epoch.validation)
    return {
        **asdict(epoch.training),
        "val_loss": validation and validation["log_loss"],
        "val_accuracy": validation and validation["accuracy"],
        "val_balanced_accuracy": validation and validation["balanced_accuracy"],
        "val_macro_f1": validation and validation["macro_f1"],
    }


def shared_tensor(array: NDArray[np.generic]) -> torch.Tensor:
    """A tensor on the array's own memory, which may be the read-only memory that all workers share."""
    with warnings.catch_warnings():
        # torch warns that writing to it would be undefined; nothing here writes to images or labels.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _starting_model(task: Task, n_classes: int, weights: bytes | None) -> WBCsNet:
    if (weights is None) != (task.way == "scratch"):
        raise ValueError(
            f"training {task.way} takes {'no ' if task.way == 'scratch' else ''}weights to start from"
        )
    seed = derive_seed(task.seed, "weights")
    if weights is None:
        return build(replace(task.configuration.model, n_classes=n_classes), seed)
    state = load_weights(weights)
    model = build(replace(task.configuration.model, n_classes=len(state["fc2.bias"])), seed)
    model.load_state_dict(state)
    replace_head(model, n_classes, seed)
    if task.way == "frozen":
        model.freeze_features()
    return model


def _portable(model: WBCsNet) -> dict[str, torch.Tensor]:
    """The weights in plain order on the CPU, whatever the device and memory format of the training."""
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
