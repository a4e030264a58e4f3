"""Trainings of one configuration over its folds; the caller may stop after any epoch."""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights

from search.common.metrics import score
from search.common.seeds import derive_seed
from search.data.splits import Split
from search.space import Configuration
from search.training.batches import measure
from search.training.checkpoint import Checkpoint
from search.training.device import Device
from search.training.fit import evaluate, fit, on_device
from search.training.sgd import SGD
from search.training.types import EpochScore, FoldScore, Images, Step, Task
from wbcmodels.cost import n_parameters
from wbcmodels.family import WBCsNet, build, replace_head

# A checkpoint above 4 MB is taken only if it costs little compared with the training since the last one: for a
# network of a quarter of the paper's width (20 MB with its momentum) every 5 seconds, for the paper's (600 MB)
# every 150 seconds.
SMALL_CHECKPOINT_BYTES, CHECKPOINT_BYTES_PER_S = 4_000_000, 4_000_000


def run_task(
    task: Task,
    images: Images,
    device: Device,
    weights: bytes | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Step]:
    """Train one network once, validate it, and yield after every epoch.

    Args:
        weights: safetensors bytes to start from, of a network that differs from the task's at most in its
            classes; FC2 is replaced.
        checkpoint: of the same task; the epochs before it are not yielded again.
    Raises:
        DivergedError: a loss or an output is not finite.
        ValueError: the images were not decoded at the network's input side.
    """
    model_config = replace(task.configuration.model, n_classes=images.n_classes)
    if model_config.input_px not in images.pixels:
        raise ValueError(f"the images were decoded at {sorted(images.pixels)} px, not at {model_config.input_px}")
    pixels = shared_tensor(images.pixels[model_config.input_px]).to(device.device)
    labels = shared_tensor(images.labels).to(device.device)
    train, val = (shared_tensor(indices).to(device.device) for indices in (task.train, task.val))
    normalisation = measure(pixels, train)
    model = on_device(_starting_model(task, images.n_classes, weights), device)
    optimizer = SGD(model, task.configuration.training)
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
        validated_from = time.perf_counter()
        if len(task.val) and (last or not task.validate_once):
            probabilities = evaluate(model, pixels, val, normalisation, device)
            metrics = score(images.labels[task.val], probabilities)
        epoch_score = EpochScore(training=epoch, validation=metrics, val_s=time.perf_counter() - validated_from)
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
    """Train a configuration on its folds, one after another in the given order, and yield after every epoch.

    Args:
        seed: of the study; every trial draws the same weights and batches for its nth fold.
        checkpoint: of the same trial; the epochs before it are not yielded again.
    Raises:
        DivergedError: a loss or an output is not finite.
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


def state_of(model: torch.nn.Module, optimizer: SGD, *, epoch: int, train_s: float) -> Checkpoint:
    """The state of a training after an epoch. It shares the network's memory: save it before the next step."""
    momentum = {name: _as_array(value) for name, value in optimizer.momentum.items()}
    weights = {name: _as_array(value) for name, value in model.state_dict().items()}
    return Checkpoint(epoch=epoch, train_s=train_s, weights=weights, momentum=momentum)


def restore(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: SGD) -> None:
    """Load a checkpoint into a new network and its optimizer.

    Raises:
        RuntimeError: the checkpoint is of a different network.
    """
    model.load_state_dict({name: torch.from_numpy(value) for name, value in checkpoint.weights.items()})
    parameters = dict(model.named_parameters())
    for name, value in checkpoint.momentum.items():
        buffer = torch.empty_like(parameters[name])  # on the parameter's device, in its memory order
        optimizer.momentum[name] = buffer.copy_(torch.from_numpy(value))


def shared_tensor(array: NDArray[np.generic]) -> torch.Tensor:
    """A tensor on the array's memory, which may be read-only because all workers share it."""
    with warnings.catch_warnings():
        # torch warns that writing would be undefined behaviour; nothing here writes to images or labels.
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


def _as_array(tensor: torch.Tensor) -> NDArray[np.generic]:
    array: NDArray[np.generic] = tensor.detach().cpu().numpy()
    return array


def _portable(model: WBCsNet) -> dict[str, torch.Tensor]:
    """The weights in C order on the CPU, whatever the device and memory format of the training."""
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
