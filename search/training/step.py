"""Training steps: forward pass, loss, backward pass and update, with the sums that an epoch reports."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from search.space import TrainingConfig
from search.training.device import Device
from search.training.fused import FusedOptimizer
from search.training.optimizers import Optimizer, is_plain

Work = Callable[..., None]
Loss = Callable[[Tensor, Tensor], Tensor]
# The first steps allocate buffers and choose algorithms; the next one is recorded.
STEPS_BEFORE_RECORDING = 3


class DivergedError(ArithmeticError):
    """A loss or an output is not finite."""


class TrainingStep:
    """A step of plain calls; trains on one batch per call.

    Args:
        model: on the device; trained in place.
        loss: logits (N, n_classes) and labels (N,) -> mean over the images.
        clip_norm: largest norm of all gradients together; None sets no limit.
        average: of the network's weights, updated after every step; None keeps none.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Loss,
        device: Device,
        *,
        clip_norm: float | None = None,
        average: AveragedModel | None = None,
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        self._device, self._epoch = device, 0
        self._clip_norm, self._average = clip_norm, average
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
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self._model)

    def finish(self) -> tuple[float, int]:
        """Sum of the loss over the epoch's images, and the number of correct predictions.

        Raises:
            DivergedError: the sum is not finite.
        """
        self._check(self._loss_sum)
        return self._loss_sum.item(), int(self._n_correct.item())

    def _backward(self, images_NCHW: Tensor, labels: Tensor) -> Tensor:
        logits = forward(self._model, images_NCHW, self._device)
        loss = self._loss(logits, labels)
        self._optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            self._loss_sum += loss * len(labels)
            self._n_correct += (logits.argmax(1) == labels).sum()
        return loss.detach()

    def _check(self, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the loss is {loss.item()} in epoch {self._epoch}")


class CUDAGraphs:
    """Records work on a GPU, and replays it without launching its kernels one by one."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def run(self, work: Work, *inputs: Tensor) -> None:
        """Do the work on the stream that records; all work before a recording must run there."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Work, *inputs: Tensor) -> Work:
        """Record the work for inputs of these shapes; recording does not compute. Returns the work as a replay."""
        copies = [tensor.clone() for tensor in inputs]
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            work(*copies)

        def replay(*inputs: Tensor) -> None:
            for copy, tensor in zip(copies, inputs, strict=True):
                copy.copy_(tensor)
            graph.replay()

        return replay


class RecordedStep(TrainingStep):
    """A step that is recorded and replayed.

    Kernels of networks this small run faster than they can be launched one by one. Nothing waits for the GPU
    before the end of an epoch: only there is the loss checked, and until then the optimizer itself skips updates
    if the loss is not finite.

    Args:
        graphs: what records the step.
    """

    def __init__(
        self, model: nn.Module, optimizer: FusedOptimizer, loss: Loss, device: Device, graphs: CUDAGraphs
    ) -> None:
        super().__init__(model, optimizer, loss, device)
        optimizer.keep_rate_on(device.device)
        self._fused, self._graphs = optimizer, graphs
        self._n_steps = 0
        self._replays: dict[int, Work] = {}  # by batch size

    def __call__(self, images_NCHW: Tensor, labels: Tensor, lr: float) -> None:
        """Train on one batch with a learning rate; the GPU may still be computing on return."""
        self._optimizer.set_rate(lr)
        self._n_steps += 1
        if self._n_steps <= STEPS_BEFORE_RECORDING:
            self._graphs.run(self._whole, images_NCHW, labels)
            return
        if len(labels) not in self._replays:
            self._optimizer.zero_grad()  # so that the graph allocates the gradients in its own memory
            self._replays[len(labels)] = self._graphs.record(self._whole, images_NCHW, labels)
        self._replays[len(labels)](images_NCHW, labels)

    def _whole(self, images_NCHW: Tensor, labels: Tensor) -> None:
        loss = self._backward(images_NCHW, labels)
        self._fused.found_inf = (~torch.isfinite(loss)).float()
        self._optimizer.step()


def training_step(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Loss,
    device: Device,
    config: TrainingConfig,
    average: AveragedModel | None = None,
) -> TrainingStep:
    """Create the fastest step for network, training and device."""
    can_record = device.device.type == "cuda" and getattr(model, "cuda_graphs", False) and is_plain(config)
    if can_record and isinstance(optimizer, FusedOptimizer):
        return RecordedStep(model, optimizer, loss, device, CUDAGraphs(device.device))
    return TrainingStep(model, optimizer, loss, device, clip_norm=config.clip_norm, average=average)


def forward(model: nn.Module, images_NCHW: Tensor, device: Device) -> Tensor:
    """Logits in float32, (N, n_classes), with the convolutions in the device's precision."""
    # With the cache, a graph would record one conversion of the weights and miss all their updates.
    with torch.autocast(device.device.type, dtype=torch.bfloat16, enabled=device.bf16, cache_enabled=False):
        return model(images_NCHW).float()
