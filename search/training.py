"""Fit a network and evaluate it: tensors in, numbers out; no files, no console."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from search.data.augment import flips_and_quarter_turns
from search.device import Device
from search.seeds import derive_seed
from search.space import Schedule, TrainingConfig
from wbcmodels.family import WBCsNet

EVALUATION_BATCH = 256
# With few epochs a rate that is high enough to get anywhere throws an untrained network off course.
WARM_UP_SHARE = 0.2


class DivergedError(ArithmeticError):
    """The loss is not finite; says in which epoch."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch of training gave; loss and accuracy are of the batches as they were trained on."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    train_s: float


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Mean and standard deviation of each colour channel, in units of 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, images_NHWC: Tensor, indices: Tensor) -> "Normalisation":
        """Measure the uint8 images (N, side, side, 3) at the indices, and no others."""
        # Histograms are exact, and adding them up needs no float copy of all the images.
        histogram = torch.zeros(3, 256, dtype=torch.float64)
        for part in indices.split(EVALUATION_BATCH):
            channels = images_NHWC[part].flatten(0, 2).T
            histogram += torch.stack([torch.bincount(c, minlength=256).cpu() for c in channels])
        share = histogram / histogram.sum(1, keepdim=True)
        values = torch.arange(256, dtype=torch.float64)
        mean = (share * values).sum(1)
        variance = (share * (values - mean[:, None]) ** 2).sum(1)
        # A channel without any variation must not be divided by zero.
        red, green, blue = variance.sqrt().clamp(min=1.0).tolist()
        return cls(mean=(float(mean[0]), float(mean[1]), float(mean[2])), std=(red, green, blue))

    def apply(self, images_NHWC: Tensor) -> Tensor:
        """uint8 (N, side, side, 3) -> float32 (N, 3, side, side) in channels-last order."""
        mean, std = (torch.tensor(value, device=images_NHWC.device) for value in (self.mean, self.std))
        return ((images_NHWC - mean) / std).permute(0, 3, 1, 2)


def make_optimizer(model: WBCsNet, config: TrainingConfig) -> torch.optim.SGD:
    """SGD over the parameters that require gradients."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(
        parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )


def fit(
    model: WBCsNet,
    optimizer: torch.optim.Optimizer,
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
) -> Iterator[EpochResult]:
    """Train the optimizer's parameters, and yield after every epoch.

    Args:
        model: on the device; trained in place.
        optimizer: of the model's parameters, see `make_optimizer`; its learning rate is set here.
        images_NHWC: uint8, (N, side, side, 3), on the device; shared, never written.
        labels: int64, (N,), on the device.
        indices: int64, (n_train,), on the device: the images to train on.
        seed: of batch order, augmentation and dropout.
        epochs_done: with model and optimizer as they were after so many epochs, training goes on as if it had
            never been interrupted.
    Raises:
        DivergedError: a loss that is not finite; the parameters are not updated with it.
    """
    # Batches as equal as can be: a last batch of one image would be trained on with a full step.
    n_batches = -(-len(indices) // config.batch_size)
    n_steps = config.epochs * n_batches
    class_weights = _class_weights(labels[indices], n_classes) if config.class_weighting == "balanced" else None

    for epoch in range(epochs_done + 1, config.epochs + 1):
        started = time.perf_counter()
        model.train()
        # An epoch has random streams of its own, so that one can be the first after a restart. Dropout draws
        # from torch's global generator.
        torch.manual_seed(derive_seed(seed, "epoch", epoch))
        generator = torch.Generator().manual_seed(derive_seed(seed, "batches", epoch))
        first_step = (epoch - 1) * n_batches
        loss_sum = torch.zeros((), device=device.device)
        n_correct = torch.zeros((), dtype=torch.int64, device=device.device)
        order = torch.randperm(len(indices), generator=generator).to(device.device)
        for step, batch in enumerate(indices[order].tensor_split(n_batches), start=first_step):
            set_rate(optimizer, config.lr * learning_rate_share(config.schedule, step, n_steps))
            images = normalisation.apply(flips_and_quarter_turns(images_NHWC[batch], generator))
            logits = forward(model, images, device)
            loss = F.cross_entropy(logits, labels[batch], weight=class_weights)
            if not torch.isfinite(loss):
                raise DivergedError(f"the loss is {loss.item()} in epoch {epoch}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(batch)
            n_correct += (logits.detach().argmax(1) == labels[batch]).sum()
        yield EpochResult(
            epoch=epoch,
            lr=config.lr * learning_rate_share(config.schedule, first_step, n_steps),
            train_loss=loss_sum.item() / len(indices),
            train_accuracy=n_correct.item() / len(indices),
            train_s=time.perf_counter() - started,
        )


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Make the optimizer's next step with this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def learning_rate_share(schedule: Schedule, step: int, n_steps: int) -> float:
    """Share of the configured learning rate that a step is made with.

    Args:
        schedule: "cosine" rises in a straight line over the first fifth of the steps and then falls along a half
            cosine to zero; "constant" is 1 throughout.
        step: from 0 to n_steps - 1.
    """
    if schedule == "constant":
        return 1.0
    warm_up = max(1, round(WARM_UP_SHARE * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up + 1) / (n_steps - warm_up + 1)))


@torch.inference_mode()
def evaluate(
    model: WBCsNet, images_NHWC: Tensor, indices: Tensor, normalisation: Normalisation, device: Device
) -> NDArray[np.float64]:
    """Class probabilities, shape (n_indices, n_classes), of the uint8 images (N, side, side, 3) at the indices.

    Raises:
        DivergedError: a probability that is not finite.
    """
    model.eval()
    logits = torch.cat(
        [
            forward(model, normalisation.apply(images_NHWC[part]), device)
            for part in indices.split(EVALUATION_BATCH)
        ]
    )
    probabilities = torch.softmax(logits.double(), dim=1).cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise DivergedError("the network's output is not finite")
    return probabilities


def on_device(model: WBCsNet, device: Device) -> WBCsNet:
    """Move a network to its device, in the memory order that convolutions are fastest in."""
    return model.to(device.device).to(memory_format=torch.channels_last)


def forward(model: WBCsNet, images_NCHW: Tensor, device: Device) -> Tensor:
    """Logits in float32, (N, n_classes), with the convolutions in the device's precision."""
    with torch.autocast(device.device.type, dtype=torch.bfloat16, enabled=device.bf16):
        return model(images_NCHW).float()


def _class_weights(labels: Tensor, n_classes: int) -> Tensor:
    """sqrt(n_images / (classes present * images of the class)), shape (n_classes,); 0 for an absent class."""
    counts = torch.bincount(labels, minlength=n_classes).float()
    weights = (len(labels) / ((counts > 0).sum() * counts)).sqrt()
    return torch.where(counts > 0, weights, 0.0)
