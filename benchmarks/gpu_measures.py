"""Training rates, in images per second, of the ways that `benchmarks.gpu` compares."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from benchmarks.patterns.workload import Images, Point, Workload
from search.space import TrainingConfig
from search.training.device import Device, prepare_worker
from search.training.fit import evaluate, fit, on_device
from search.training.sgd import SGD
from search.training.step import TrainingStep
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig

N_CLASSES = 5
LR = 1e-6  # a higher one may diverge on noise, and the speed does not depend on it
NORMALISATION = Normalisation(mean=(128.0, 128.0, 128.0), std=(64.0, 64.0, 64.0))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size of a training: nine images in ten are trained on, as with ten folds, and the tenth is validated."""

    placement: str
    side: int
    width: float
    n_images: int
    batch_size: int = 32

    @property
    def model(self) -> ModelConfig:
        """The network."""
        return ModelConfig(placement=self.placement, input_px=self.side, width=self.width)

    @property
    def n_train(self) -> int:
        """Number of training images."""
        return self.n_images - self.n_images // 10


def matrix_flops(device: Device, n: int) -> float:
    """Operations per second in the product of two (n, n) bfloat16 matrices."""
    a = torch.randn(n, n, device=device.device).bfloat16()
    seconds = _seconds(lambda: a @ a, device, warm_up=3, times=10)
    return 2 * n**3 / seconds


def tutorial_rate(shape: Shape, device: Device) -> float:
    """Rate of the tutorial's training function in its second epoch."""
    # Imported here, because torchvision takes seconds and the processes side by side do without it.
    from benchmarks.patterns.dataloader import train as train_as_in_the_tutorial

    with tempfile.TemporaryDirectory() as folder:
        workload = Workload(
            folder=Path(folder),
            points=[Point(lr=LR, dropout=0.5)],
            epochs=2,
            batch_size=shape.batch_size,
            side=shape.side,
            width=shape.width,
            placement=shape.placement,
            n_classes=N_CLASSES,
        )
        pixels, labels = _cells(shape)
        indices = np.arange(shape.n_images)
        split = {"train": indices[: shape.n_train], "val": indices[shape.n_train :]}
        workload.save(Images(pixels=pixels.numpy(), labels=labels.numpy(), **split))
        times = [time.perf_counter()]
        for _ in train_as_in_the_tutorial(workload, 0, num_workers=0, device=device.device.type):
            times.append(time.perf_counter())
        return shape.n_train / (times[2] - times[1])


def plain_step_rate(shape: Shape, device: Device) -> float:
    """Rate of this project's step with its kernels launched one by one."""
    with patch("search.training.fit.training_step", lambda *given: TrainingStep(*given[:4])):
        return training_rates(shape, device)[0]


def training_rates(shape: Shape, device: Device) -> tuple[float, float]:
    """Rates of this project's training and validation, both in the second epoch."""
    model, epochs, (pixels, _) = _training(shape, device)
    next(epochs)
    trained = shape.n_train / next(epochs).train_s
    val = torch.arange(shape.n_train, shape.n_images, device=device.device)
    seconds = _seconds(lambda: evaluate(model, pixels, val, NORMALISATION, device), device, warm_up=1, times=3)
    return trained, len(val) / seconds


def memory_mb(shape: Shape, device: Device) -> float:
    """Peak memory of the card in one training; NaN without a card."""
    if device.device.type != "cuda":
        return float("nan")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    _, epochs, _ = _training(shape, device)
    next(epochs)
    return torch.cuda.max_memory_reserved() / 1e6


def side_by_side_rate(shape: Shape, n: int) -> float:
    """Total rate of n trainings at once, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(n, _share_barrier, (context.Barrier(n), n)) as pool:
        return sum(pool.map(_rate_beside_others, [shape] * n, chunksize=1))


def stacked_rate(shape: Shape, device: Device, n: int) -> float:
    """Total rate of n trainings of one architecture in one process, stacked along a leading dimension of n."""
    models = [shape.model.build(N_CLASSES, seed).to(device.device).train() for seed in range(n)]
    params, buffers = stack_module_state(models)
    # Batch norm under vmap accepts no mixed precision, so everything is in one precision here.
    precision = torch.bfloat16 if device.bf16 else torch.float32
    buffers = {
        name: value.to(precision) if value.is_floating_point() else value for name, value in buffers.items()
    }
    momentum = {name: torch.zeros_like(value) for name, value in params.items()}
    images = torch.randn(n, shape.batch_size, 3, shape.side, shape.side, device=device.device)
    labels = torch.arange(shape.batch_size, device=device.device).expand(n, -1) % N_CLASSES

    def loss(params: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        computed_with = {name: value.to(precision) for name, value in params.items()}
        logits = functional_call(models[0], (computed_with, buffers), (images.to(precision),))
        return F.cross_entropy(logits.float(), labels)

    gradients = vmap(grad(loss), randomness="different")

    def step() -> None:
        found = gradients(params, buffers, images, labels)
        with torch.no_grad():
            for name, value in params.items():
                momentum[name].mul_(0.9).add_(found[name])
                value.sub_(momentum[name], alpha=LR)

    return n * shape.batch_size / _seconds(step, device, warm_up=3, times=10)


def _training(shape: Shape, device: Device):  # type: ignore[no-untyped-def]  # a network, its epochs, the images
    pixels, labels = (tensor.to(device.device) for tensor in _cells(shape))
    config = TrainingConfig(epochs=3, lr=LR, batch_size=shape.batch_size)
    model = on_device(shape.model.build(N_CLASSES, seed=0), device)
    epochs = fit(
        model,
        SGD(model, config),
        pixels,
        labels,
        torch.arange(shape.n_train, device=device.device),
        config,
        NORMALISATION,
        n_classes=N_CLASSES,
        seed=0,
        device=device,
    )
    return model, epochs, (pixels, labels)


def _cells(shape: Shape) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (shape.n_images, shape.side, shape.side, 3)
    pixels = torch.randint(256, size, dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(shape.n_images) % N_CLASSES


def _seconds(run: Callable[[], object], device: Device, *, warm_up: int, times: int) -> float:
    """Mean seconds of one run over several."""
    for _ in range(warm_up):
        run()
    _wait(device)
    began = time.perf_counter()
    for _ in range(times):
        run()
    _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: Device) -> None:
    if device.device.type == "cuda":
        torch.cuda.synchronize()


_barrier: Barrier
_n: int


def _share_barrier(barrier: Barrier, n: int) -> None:
    global _barrier, _n
    _barrier, _n = barrier, n


def _rate_beside_others(shape: Shape) -> float:
    device = prepare_worker(1, gpu_share=1 / _n)
    _, epochs, _ = _training(shape, device)
    next(epochs)
    _barrier.wait()  # so that none has the card to itself
    return shape.n_train / next(epochs).train_s
