"""Probes of speed and memory on random images."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from search.space import Configuration
from search.training.batches import normalise
from search.training.cost import image_cost
from search.training.device import Device
from search.training.fit import fit, on_device
from search.training.folds import freeze_features
from search.training.optimizers import is_plain, make_optimizer
from search.training.step import forward
from search.training.types import Normalisation
from wbcmodels.network import EstimatorConfig, Model, build_network

PROBE_BATCHES, WARM_UP_BATCHES = 5, 2
# Cost of an image, see `search.training.cost.image_cost`, beyond which fewer batches are enough.
DEAR = 6e7
LATENCY_TURNS, LATENCY_LEARNED, LATENCY_TOLERANCE = 60, 30, 0.1
Pass = Callable[[], object]
NORMALISATION = Normalisation(mean=(128.0, 128.0, 128.0), std=(64.0, 64.0, 64.0))


def training_speed(configuration: Configuration, n_classes: int, device: Device) -> float:
    """Images trained per second, measured over a few batches after a warm-up."""
    config, side = configuration.training, configuration.model.input_px
    if isinstance(configuration.model, EstimatorConfig):
        started = time.perf_counter()
        configuration.model.features(_noise(PROBE_BATCHES, side))
        return PROBE_BATCHES / (time.perf_counter() - started)
    network = build_network(configuration.model, n_classes, seed=0)
    frozen = config.trained == "head"
    if frozen:
        freeze_features(network)
    model = on_device(network, device, halve=is_plain(config))
    # The speed does not depend on the learning rate, and a high one may diverge on noise.
    slow_learner = replace(config, lr=1e-6, epochs=1)
    rates = []
    share = min(1.0, DEAR / image_cost(configuration, n_classes))
    for n_batches in (math.ceil(share * WARM_UP_BATCHES), math.ceil(share * PROBE_BATCHES)):
        n_images = n_batches * config.batch_size
        images = torch.randint(256, (n_images, side, side, 3), dtype=torch.uint8, device=device.device)
        epochs = fit(
            model,
            make_optimizer(model, slow_learner),
            images,
            torch.arange(n_images, device=device.device) % n_classes,
            torch.arange(n_images, device=device.device),
            slow_learner,
            NORMALISATION,
            n_classes=n_classes,
            seed=0,
            device=device,
            frozen=frozen,
        )
        rates.append(n_images / next(epochs).train_s)
    return rates[-1]


def memory_share(configuration: Configuration, n_classes: int, device: Device) -> float:
    """Share of the GPU's memory in use, by all processes, after a configuration was trained; 0 on a CPU."""
    training_speed(configuration, n_classes, device)
    if device.device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return 1 - free / total


@torch.inference_mode()
def latencies_ms(models: Sequence[Model], n_classes: int, device: Device) -> list[float]:
    """Time of one image's forward pass, or of its measurement and classification, in ms.

    Every network takes turns with the first one, so that whatever else the machine does meets both. What repeats
    is the median ratio of their times; it is multiplied by the median time of the first network.

    Returns:
        In the order of the networks; NaN where the ratio of odd turns is not within LATENCY_TOLERANCE of that of
        even turns.
    """
    reference = _one_pass(models[0], n_classes, device)
    times = [_turns(reference, _one_pass(model, n_classes, device)) for model in models]
    base = float(np.median([turns[:, 0] for turns in times]))
    return [base * repeated_ratio(turns[:, 1] / turns[:, 0]) for turns in times]


def repeated_ratio(ratios: NDArray[np.float64]) -> float:
    """The median of ratios; NaN where that of every other one differs by more than LATENCY_TOLERANCE."""
    low, high = sorted(float(np.median(half)) for half in (ratios[::2], ratios[1::2]))
    return float(np.median(ratios)) if high <= (1 + LATENCY_TOLERANCE) * low else math.nan


def _turns(reference: Pass, other: Pass) -> NDArray[np.float64]:
    """Times of both in turn, in ms, shape (LATENCY_TURNS, 2)."""
    times = np.empty((LATENCY_TURNS, 2))
    for turn in times:
        for place, one_pass in enumerate((reference, other)):
            one_pass()  # not timed: it finds the caches full of the other network
            started = time.perf_counter()
            one_pass()
            turn[place] = 1000 * (time.perf_counter() - started)
    return times


def _one_pass(config: Model, n_classes: int, device: Device) -> Pass:
    """A function that classifies one image."""
    if isinstance(config, EstimatorConfig):
        learned = config.features(_noise(LATENCY_LEARNED, config.input_px))
        fitted = config.estimator(seed=0).fit(learned, np.arange(LATENCY_LEARNED) % n_classes)
        one = _noise(1, config.input_px)
        return lambda: fitted.predict_proba(config.features(one))
    model = on_device(build_network(config, n_classes, seed=0), device).eval()
    image = torch.zeros((1, config.input_px, config.input_px, 3), dtype=torch.uint8, device=device.device)
    return lambda: forward(model, normalise(image, NORMALISATION), device).cpu()


def _noise(n_images: int, side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n_images, side, side, 3), dtype=np.uint8)
