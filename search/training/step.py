"""Training steps: forward pass, loss, backward pass and update, with the sums that an epoch reports."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from search.training.device import Device
from search.training.sgd import SGD
from wbcmodels.family import WBCsNet

# The first steps allocate buffers and choose algorithms; the next one is recorded.
STEPS_BEFORE_RECORDING = 3


class DivergedError(ArithmeticError):
    """A loss or an output is not finite."""


class TrainingStep:
    """A step of plain calls; trains on one batch per call.

    Args:
        model: on the device; trained in place.
        class_weights: (n_classes,), on the device; None weights all classes equally.
    """

    def __init__(self, model: WBCsNet, optimizer: SGD, class_weights: Tensor | None, device: Device) -> None:
        self._model, self._optimizer, self._class_weights = model, optimizer, class_weights
        self._device, self._epoch = device, 0
        self._loss_sum = torch.zeros((), device=device.device)
        self._n_correct = torch.zeros((), dtype=torch.int64, device=device.device)

    def begin(self, epoch: int) -> None:
        """Start an epoch, and with it the sums of loss and correct predictions."""
        self._epoch = epoch
        self._loss_sum.zero_()
        self._n_correct.zero_()

    def __call__(self, images_NCHW: Tensor, labels: Tensor, lr: float) -> None:
        """Train on one batch with a learning rate.

        Raises:
            DivergedError: the loss is not finite; the parameters are not updated.
        """
        self._optimizer.set_rate(lr)
        loss = self._backward(images_NCHW, labels)
        self._check(loss)
        self._optimizer.step()

    def finish(self) -> tuple[float, int]:
        """Sum of the loss over the epoch's images, and the number of correct predictions.

        Raises:
            DivergedError: the sum is not finite.
        """
        self._check(self._loss_sum)
        return self._loss_sum.item(), int(self._n_correct.item())

    def _backward(self, images_NCHW: Tensor, labels: Tensor) -> Tensor:
        logits = forward(self._model, images_NCHW, self._device)
        loss = F.cross_entropy(logits, labels, weight=self._class_weights)
        self._optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            self._loss_sum += loss * len(labels)
            self._n_correct += (logits.argmax(1) == labels).sum()
        return loss.detach()

    def _check(self, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the loss is {loss.item()} in epoch {self._epoch}")


class RecordedStep(TrainingStep):
    """A step on a GPU, recorded as a CUDA graph and replayed.

    Kernels of networks this small run faster than they can be launched one by one. Nothing waits for the GPU
    before the end of an epoch: only there is the loss checked, and until then the optimizer itself skips updates
    if the loss is not finite.
    """

    def __init__(self, model: WBCsNet, optimizer: SGD, class_weights: Tensor | None, device: Device) -> None:
        super().__init__(model, optimizer, class_weights, device)
        optimizer.keep_rate_on(device.device)
        self._n_steps = 0
        self._recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}  # by batch size
        self._stream = torch.cuda.Stream(device.device)

    def __call__(self, images_NCHW: Tensor, labels: Tensor, lr: float) -> None:
        """Train on one batch with a learning rate; the GPU may still be computing on return."""
        self._optimizer.set_rate(lr)
        self._n_steps += 1
        if self._n_steps <= STEPS_BEFORE_RECORDING:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):  # recording requires that earlier steps ran on such a stream
                self._whole(images_NCHW, labels)
            torch.cuda.current_stream().wait_stream(self._stream)
            return
        if len(labels) not in self._recorded:
            self._recorded[len(labels)] = self._record(images_NCHW, labels)
        graph, images, targets = self._recorded[len(labels)]
        images.copy_(images_NCHW)
        targets.copy_(labels)
        graph.replay()

    def _record(self, images_NCHW: Tensor, labels: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """Record a step on copies of its inputs; recording does not compute."""
        images, targets = images_NCHW.clone(), labels.clone()
        graph: Any = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad()  # so that the graph allocates the gradients in its own memory
        with torch.cuda.graph(graph, stream=self._stream):
            self._whole(images, targets)
        return graph, images, targets

    def _whole(self, images_NCHW: Tensor, labels: Tensor) -> None:
        loss = self._backward(images_NCHW, labels)
        self._optimizer.found_inf = (~torch.isfinite(loss)).float()
        self._optimizer.step()


def training_step(model: WBCsNet, optimizer: SGD, class_weights: Tensor | None, device: Device) -> TrainingStep:
    """Create the fastest step for the device."""
    kind = RecordedStep if device.device.type == "cuda" else TrainingStep
    return kind(model, optimizer, class_weights, device)


def forward(model: WBCsNet, images_NCHW: Tensor, device: Device) -> Tensor:
    """Logits in float32, (N, n_classes), with the convolutions in the device's precision."""
    # With the cache, a graph would record one conversion of the weights and miss all their updates.
    with torch.autocast(device.device.type, dtype=torch.bfloat16, enabled=device.bf16, cache_enabled=False):
        return model(images_NCHW).float()
