"""Training and evaluation of one network: tensors in, numbers out; no files, no console."""

import math
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from search.common.seeds import derive_seed
from search.space import Schedule, TrainingConfig
from search.training.batches import normalise, prepared
from search.training.cost import frozen_passes
from search.training.device import Device, in_double
from search.training.frozen import frozen_features
from search.training.halved import HalvedLinear
from search.training.optimizers import Optimizer
from search.training.step import DivergedError, forward, training_step
from search.training.types import EpochResult, Normalisation

EVALUATION_BATCH = 256
# With few epochs, a learning rate that is high enough to get anywhere makes an untrained network diverge.
WARM_UP_SHARE = 0.2


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    images_NHWC: Tensor,
    labels: Tensor,
    indices: Tensor,
    config: TrainingConfig,
    normalisation: Normalisation,
    *,
    n_classes: int,
    seed: int,
    device: Device,
    epochs_done: int = 0,
    frozen: bool = False,
    average: AveragedModel | None = None,
) -> Iterator[EpochResult]:
    """Train the optimizer's parameters and yield after every epoch.

    Args:
        model: on the device; trained in place.
        optimizer: of the model's parameters; its learning rate is set here.
        images_NHWC: uint8, (N, side, side, 3), on the device; shared and never written to.
        labels: int64, (N,), on the device.
        indices: int64, (n_train,), on the device: the images to train on.
        seed: determines batch order, augmentation and dropout.
        epochs_done: number of epochs that model and optimizer have behind them; the rest follows as if training
            had never been interrupted.
        frozen: only the head is trained: what comes before it computes as in evaluation, but for dropout. Where
            that takes fewer passes, it computes once, in the first of these epochs.
        average: of the model's weights, updated after every step.
    Raises:
        DivergedError: a loss is not finite; the parameters are not updated with it.
    """
    # Batches of equal size, give or take one: a last batch of a single image would get a full step.
    n_batches = -(-len(indices) // config.batch_size)
    n_steps = config.epochs * n_batches
    class_weights = _class_weights(labels[indices], n_classes) if config.class_weighting == "balanced" else None

    loss = partial(F.cross_entropy, weight=class_weights, label_smoothing=config.label_smoothing)

    started, features = time.perf_counter(), None
    if frozen and frozen_passes(config) < config.epochs:
        features = frozen_features(model, images_NHWC, indices, normalisation, device)
    features_s = time.perf_counter() - started
    trained = model if features is None else features.tail
    step = training_step(trained, optimizer, loss, device, config, average)

    for epoch in range(epochs_done + 1, config.epochs + 1):
        started, data_s = time.perf_counter(), 0.0
        _train_mode(model, frozen=frozen)
        # Every epoch has its own random streams, so that training can resume with any. Dropout draws from torch's
        # global generator.
        torch.manual_seed(derive_seed(seed, "epoch", epoch))
        generator = torch.Generator().manual_seed(derive_seed(seed, "batches", epoch))
        order = torch.randperm(len(indices), generator=generator).to(device.device)
        first_step = (epoch - 1) * n_batches
        step.begin(epoch)
        in_order = indices[order].tensor_split(n_batches)
        if features is None:
            batches = prepared(images_NHWC, in_order, normalisation, generator, device, config.augmentation)
        else:
            batches = features.drawn(in_order, generator)
        for number in range(first_step, first_step + n_batches):
            asked = time.perf_counter()
            batch, images = next(batches)
            data_s += time.perf_counter() - asked
            step(images, labels[batch], config.lr * learning_rate_share(config.schedule, number, n_steps))
        loss_sum, n_correct = step.finish()
        yield EpochResult(
            epoch=epoch,
            lr=config.lr * learning_rate_share(config.schedule, first_step, n_steps),
            train_loss=loss_sum / len(indices),
            train_accuracy=n_correct / len(indices),
            train_s=time.perf_counter() - started + features_s,
            data_s=data_s,
        )
        features_s = 0.0


def learning_rate_share(schedule: Schedule, step: int, n_steps: int) -> float:
    """Factor on the configured learning rate at a step.

    Args:
        schedule: "cosine" rises linearly over the first fifth of the steps, then falls to zero as half a cosine;
            "one_cycle" rises from a 25th as half a cosine over the first three tenths, then falls to a 250,000th
            as another one; "constant" is always 1.
        step: from 0 to n_steps - 1.
    Source: L. N. Smith and N. Topin, Super-convergence (2019), with the constants of torch's OneCycleLR.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "one_cycle":
        return _one_cycle(step, n_steps)
    warm_up = max(1, round(WARM_UP_SHARE * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up + 1) / (n_steps - warm_up + 1)))


def _one_cycle(step: int, n_steps: int) -> float:
    top = 0.3 * n_steps - 1
    if step <= top:
        return _half_cosine(1 / 25, 1.0, step / top)
    return _half_cosine(1.0, 1 / 250_000, (step - top) / (n_steps - 1 - top))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@torch.inference_mode()
def evaluate(
    model: nn.Module, images_NHWC: Tensor, indices: Tensor, normalisation: Normalisation, device: Device
) -> NDArray[np.float64]:
    """Class probabilities, shape (n_indices, n_classes), of the uint8 images (N, side, side, 3) at the indices.

    Raises:
        DivergedError: a probability is not finite.
    """
    model.eval()
    logits = torch.cat(
        [
            forward(model, normalise(images_NHWC[part], normalisation), device)
            for part in indices.split(EVALUATION_BATCH)
        ]
    )
    probabilities = torch.softmax(in_double(logits), dim=1).cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise DivergedError("the network's output is not finite")
    return probabilities


def on_device(model: nn.Module, device: Device, *, halve: bool = True) -> nn.Module:
    """Move a network to its device, with the memory order and the layers that are fastest there.

    Args:
        halve: compute its large linear layer in bfloat16 with `HalvedLinear`, for a `FusedOptimizer`.
    """
    in_order = torch.channels_last if getattr(model, "channels_last", True) else torch.contiguous_format
    model = model.to(device.device).to(memory_format=in_order)
    large = getattr(model, "large_linear", None)
    if halve and large is not None and device.bf16 and device.device.type == "cpu":
        layer = model.get_submodule(large)
        assert isinstance(layer, nn.Linear)  # as the attribute promises
        model.set_submodule(large, HalvedLinear(layer))
    return model


def _train_mode(model: nn.Module, *, frozen: bool) -> None:
    model.train(not frozen)
    if frozen:  # norms keep their statistics
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.train()


def _class_weights(labels: Tensor, n_classes: int) -> Tensor:
    """sqrt(n_images / (classes present * images of the class)), shape (n_classes,); 0 for an absent class."""
    counts = torch.bincount(labels, minlength=n_classes).float()
    weights = (len(labels) / ((counts > 0).sum() * counts)).sqrt()
    return torch.where(counts > 0, weights, 0.0)
