"""Trainings of one configuration over its folds; the caller may stop after any epoch."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search.common.metrics import score
from search.common.seeds import derive_seed
from search.data.splits import Split
from search.space import Configuration, TrainingConfig
from search.training.batches import measure, shared_tensor
from search.training.checkpoint import Checkpoint
from search.training.device import Device
from search.training.elsewhere import score_network
from search.training.estimators import run_estimator
from search.training.evaluated import evaluate_with_features
from search.training.fit import evaluate, fit, on_device
from search.training.optimizers import Optimizer, is_plain, make_optimizer
from search.training.prepare import prepared_images
from search.training.types import (
    Elsewhere,
    ElsewhereScore,
    EpochScore,
    FoldScore,
    Images,
    Normalisation,
    Step,
    Task,
)
from search.training.typical import Typical, fit_typical, views_of
from wbcmodels.network import (
    EstimatorConfig,
    NetworkConfig,
    build_network,
    expected_normalisation,
    head_name,
    initialise,
)
from wbcmodels.pretrained import load_all_but_head

# A checkpoint above 4 MB is taken only if it costs little compared with the training since the last one. With SGD,
# a network of a quarter of the paper's width has one every 5 seconds (20 MB with its momentum), the paper's every
# 150 seconds (600 MB); with AdamW, every 7.5 and 225 seconds.
SMALL_CHECKPOINT_BYTES, CHECKPOINT_BYTES_PER_S = 4_000_000, 4_000_000
NO_IMAGES: Mapping[str, Images] = MappingProxyType({})


def run_task(
    task: Task,
    images: Images,
    device: Device,
    weights: bytes | None = None,
    checkpoint: Checkpoint | None = None,
    elsewhere: Mapping[str, Images] = NO_IMAGES,
) -> Iterator[Step]:
    """Train one network once, validate it, and yield after every epoch.

    Args:
        weights: safetensors bytes to start from, of a network that differs from the task's at most in its
            classes; its head is not taken over.
        checkpoint: of the same task; the epochs before it are not yielded again.
        elsewhere: the task's further data sets, by name.
    Raises:
        DivergedError: a loss or an output is not finite.
        ValueError: the images were not decoded at the network's input side.
    """
    model_config, training = task.configuration.model, task.configuration.training
    if model_config.input_px not in images.pixels:
        raise ValueError(f"the images were decoded at {sorted(images.pixels)} px, not at {model_config.input_px}")
    if isinstance(model_config, EstimatorConfig):
        yield from run_estimator(task, images, elsewhere)
        return
    images = prepared_images(images, model_config.input_px, task.configuration.preparation)
    pixels = shared_tensor(images.pixels[model_config.input_px]).to(device.device)
    labels = shared_tensor(images.labels).to(device.device)
    train, val = (shared_tensor(indices).to(device.device) for indices in (task.train, task.val))
    expected = expected_normalisation(model_config)
    normalisation = measure(pixels, train) if expected is None else Normalisation(*expected)
    frozen = task.way == "frozen" or (task.way == "scratch" and training.trained == "head")
    network = starting_network(model_config, task, images.n_classes, weights)
    if frozen:
        freeze_features(network)
    model = on_device(network, device, halve=is_plain(training))
    optimizer = make_optimizer(model, training)
    average = averaged(model, training)
    checkpoint = checkpoint or Checkpoint(epoch=0)
    if checkpoint.epoch:
        restore(checkpoint, model, optimizer, average)
    scored = model if average is None else average.module

    train_s, metrics = checkpoint.train_s, None
    probabilities = np.empty((0, images.n_classes))
    scored_elsewhere: tuple[ElsewhereScore, ...] = ()
    saved_at = time.monotonic()
    size = checkpoint_bytes(model, training)
    pause_s = size / CHECKPOINT_BYTES_PER_S if size > SMALL_CHECKPOINT_BYTES else 0.0
    for epoch in fit(
        model,
        optimizer,
        pixels,
        labels,
        train,
        training,
        normalisation,
        n_classes=images.n_classes,
        seed=task.seed,
        device=device,
        epochs_done=checkpoint.epoch,
        frozen=frozen,
        average=average,
    ):
        train_s += epoch.train_s
        last = epoch.epoch == training.epochs
        validated_from = time.perf_counter()
        if len(task.val) and (last or not task.validate_once):
            probabilities = evaluate(scored, pixels, val, normalisation, device)
            metrics = score(images.labels[task.val], probabilities)
        if last:
            scored_elsewhere = tuple(
                score_network(scored, task.configuration, task.elsewhere, elsewhere, normalisation, device)
            )
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
                    weights=save_weights(_portable(scored)) if task.keep_weights else None,
                    typical=_typical(scored, images, task, pixels, normalisation, device)
                    if task.keep_weights
                    else None,
                    elsewhere=scored_elsewhere,
                ),
            )
        elif time.monotonic() - saved_at < pause_s:
            yield Step(epoch=epoch_score)
        else:
            state = state_of(model, optimizer, average, epoch=epoch.epoch, train_s=train_s)
            yield Step(
                epoch=epoch_score,
                checkpoint=replace(state, finished=checkpoint.finished, shifts=checkpoint.shifts).to_bytes(),
            )
            saved_at = time.monotonic()


def run_trial(
    configuration: Configuration,
    splits: Sequence[Split],
    images: Images,
    seed: int,
    device: Device,
    checkpoint: Checkpoint | None = None,
    elsewhere: Sequence[tuple[Elsewhere, Images]] = (),
) -> Iterator[Step]:
    """Train a configuration on its folds, one after another in the given order, and yield after every epoch.

    Args:
        seed: of the study; every trial draws the same weights and batches for its nth fold.
        checkpoint: of the same trial; the epochs before it are not yielded again.
        elsewhere: laboratories that no training sees, with their images; every fold's network is scored there.
    Raises:
        DivergedError: a loss or an output is not finite.
    """
    checkpoint = checkpoint or Checkpoint(epoch=0)
    finished, shifts = list(checkpoint.finished), list(checkpoint.shifts)
    laboratories = {where.data: its for where, its in elsewhere}
    for fold in range(len(finished), len(splits)):
        split = splits[fold]
        task = Task(
            configuration=configuration,
            train=split.train,
            val=split.val,
            seed=derive_seed(seed, "search", fold),
            elsewhere=tuple(where for where, _ in elsewhere),
        )
        for step in run_task(task, images, device, checkpoint=checkpoint, elsewhere=laboratories):
            if step.score is None:
                yield replace(step, fold=fold)
                continue
            finished.append(step.score.probabilities)
            if step.score.elsewhere:
                shifts.append(fmean(own.metrics.balanced_accuracy for own in step.score.elsewhere))
                # What is recorded of it is the trial's mean.
                step = replace(step, score=replace(step.score, elsewhere=()))
            if len(finished) == len(splits):
                labels = np.concatenate([images.labels[split.val] for split in splits])
                pooled, shift = score(labels, np.concatenate(finished)), fmean(shifts) if shifts else None
                yield replace(step, fold=fold, pooled=pooled, shift_balanced_accuracy=shift)
            else:
                checkpoint = Checkpoint(epoch=0, finished=tuple(finished), shifts=tuple(shifts))
                yield replace(step, fold=fold, checkpoint=checkpoint.to_bytes())


def state_of(
    model: torch.nn.Module,
    optimizer: Optimizer,
    average: AveragedModel | None = None,
    *,
    epoch: int,
    train_s: float,
) -> Checkpoint:
    """The state of a training after an epoch. It shares the network's memory: save it before the next step."""
    return Checkpoint(
        epoch=epoch,
        train_s=train_s,
        weights=_arrays(model.state_dict()),
        optimizer=_arrays(optimizer.state()),
        average={} if average is None else _arrays(average.state_dict()),
    )


def restore(
    checkpoint: Checkpoint, model: torch.nn.Module, optimizer: Optimizer, average: AveragedModel | None = None
) -> None:
    """Load a checkpoint into a new network, its optimizer and its averaged weights.

    Raises:
        RuntimeError, KeyError: the checkpoint is of a different network.
    """
    model.load_state_dict(_tensors(checkpoint.weights))
    optimizer.load(_tensors(checkpoint.optimizer))
    if average is not None:
        average.load_state_dict(_tensors(checkpoint.average))


def checkpoint_bytes(model: torch.nn.Module, training: TrainingConfig) -> int:
    """Size of a checkpoint: weights, what the optimizer keeps of each trained one, and averaged weights."""
    kept = {"sgd": 1, "adamw": 2, "muon": 1}[training.optimizer]
    n_copies = 1 if training.ema_decay is None else 2
    return 4 * sum(p.numel() * (n_copies + kept * p.requires_grad) for p in model.parameters())


def averaged(model: torch.nn.Module, training: TrainingConfig) -> AveragedModel | None:
    """The average of a network's weights, if the training keeps one; its norms have the last statistics."""
    if training.ema_decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema_decay))


def freeze_features(network: torch.nn.Module) -> None:
    """Train the head only from now on."""
    network.requires_grad_(False)
    network.get_submodule(_head(network)).requires_grad_(True)


def starting_network(config: NetworkConfig, task: Task, n_classes: int, weights: bytes | None) -> torch.nn.Module:
    """The network that a training starts from, on the CPU.

    Raises:
        ValueError: weights are given from scratch, missing otherwise, or of a different network.
    """
    if (weights is None) != (task.way == "scratch"):
        raise ValueError(
            f"training {task.way} takes {'no ' if task.way == 'scratch' else ''}weights to start from"
        )
    network = build_network(config, n_classes, derive_seed(task.seed, "weights"))
    if weights is None:
        initialise(config, network)
        return network
    load_all_but_head(network, load_weights(weights), "the network to start from")
    return network


def _typical(
    model: torch.nn.Module,
    images: Images,
    task: Task,
    pixels: torch.Tensor,
    normalisation: Normalisation,
    device: Device,
) -> Typical | None:
    """What the training images look like to the trained network; None if it cannot be told.

    Args:
        pixels: of all images, on the device.
    """
    train = shared_tensor(task.train).to(device.device)
    _, features = evaluate_with_features(model, pixels, train, normalisation, device)
    own = images.pixels[task.configuration.model.input_px][task.train]
    return fit_typical(views_of(own, features), images.labels[task.train])


def _head(network: torch.nn.Module) -> str:
    name = head_name(network)
    if name is None:
        raise ValueError("the network has no linear layer; name its head in the attribute `head`")
    return name


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.generic]]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _tensors(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _portable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights in C order on the CPU, whatever the device and memory format of the training."""
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
