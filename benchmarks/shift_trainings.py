"""Trainings on some laboratories' images, and scores on those of others: the work behind `benchmarks.shift`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.space import Configuration, Preparation
from search.training.adapt import adapt_norms
from search.training.device import Device, prepare_worker
from search.training.fit import evaluate, on_device
from search.training.folds import run_task
from search.training.prepare import prepare
from search.training.trainedmodel import TrainedModel
from search.training.types import Images, Task

# A recall of fewer images says little: of 3 basophils, each is 33 points.
LEAST_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Images of one laboratory, with the labels of a list of classes that all laboratories share.

    Attributes:
        pixels: uint8, (n_images, side, side, 3).
        labels: int64, (n_images,).
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training to run.

    Attributes:
        train, score: names of laboratories; those to score are never trained on.
    """

    setting: str
    seed: int
    configuration: Configuration
    train: tuple[str, ...]
    score: tuple[str, ...]


def laboratory(images: ImageSet, classes: Sequence[str], side_px: int) -> Laboratory:
    """The images of the given classes; those of others are left out."""
    numbers = np.array([classes.index(name) if name in classes else -1 for name in map(str.lower, images.classes)])
    labels = numbers[images.labels]
    return Laboratory(name=images.source, pixels=images.pixels[side_px][labels >= 0], labels=labels[labels >= 0])


def run_all(
    trainings: Sequence[Training], laboratories: Sequence[Laboratory], n_classes: int, workers: int
) -> Iterator[list[dict[str, Any]]]:
    """Run trainings in processes of one thread each; yields the rows of each training as it ends."""
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin, initargs=(tuple(laboratories), n_classes)
    ) as pool:
        running = [pool.submit(_run_here, training) for training in trainings]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def run(
    training: Training, laboratories: dict[str, Laboratory], n_classes: int, device: Device
) -> list[dict[str, Any]]:
    """Train once; returns a row for each laboratory, untouched and with adapted norms.

    Every laboratory's images are prepared by themselves, those trained on as well.
    """
    config = training.configuration
    given = [laboratories[name] for name in training.train]
    pixels = np.concatenate([prepare(one.pixels, config.preparation) for one in given])
    labels = np.concatenate([one.labels for one in given])
    side = config.model.input_px
    task = Task(
        configuration=replace(config, preparation=Preparation()),
        train=np.arange(len(labels)),
        val=np.empty(0, dtype=np.int64),
        seed=derive_seed(training.seed, "shift"),
        validate_once=True,
        keep_weights=True,
    )
    *_, last = run_task(task, Images(pixels={side: pixels}, labels=labels, n_classes=n_classes), device)
    assert last.score is not None  # it is the last epoch
    assert last.score.weights is not None  # the task keeps them
    model = TrainedModel(
        config=config.model,
        normalisation=last.score.normalisation,
        classes=tuple(map(str, range(n_classes))),
        weights=last.score.weights,
    )
    network, rows = on_device(model.build(), device), []
    for name in training.score:
        other = laboratories[name]
        images = torch.from_numpy(prepare(other.pixels, config.preparation)).to(device.device)
        for adapted in (False, True):
            scored = adapt_norms(network, images, model.normalisation, device) if adapted else network
            everything = torch.arange(len(images), device=device.device)
            predicted = evaluate(scored, images, everything, model.normalisation, device).argmax(1)
            rows.append(
                {
                    "setting": training.setting,
                    "seed": training.seed,
                    "tested_on": name,
                    "adapted": adapted,
                    "accuracy": float((predicted == other.labels).mean()),
                    "macro_recall": macro_recall(other.labels, predicted),
                    "n_images": len(images),
                    "train_s": last.score.train_s,
                    **recalls(other.labels, predicted, n_classes),
                }
            )
    return rows


def macro_recall(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean recall over the classes with at least LEAST_IMAGES images; NaN without any."""
    counts = np.bincount(labels)
    found = [float((predicted[labels == k] == k).mean()) for k in np.flatnonzero(counts >= LEAST_IMAGES)]
    return float(np.mean(found)) if found else float("nan")


def recalls(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> dict[str, float]:
    """Recall of each class, by column name; NaN for a class without images."""
    return {
        f"recall_{k}": float((predicted[labels == k] == k).mean()) if (labels == k).any() else float("nan")
        for k in range(n_classes)
    }


# What a process of the pool keeps between trainings.
_here: dict[str, Any] = {}


def _begin(laboratories: tuple[Laboratory, ...], n_classes: int) -> None:
    _here.update(
        device=prepare_worker(1, gpu_share=0), laboratories={one.name: one for one in laboratories}, n=n_classes
    )


def _run_here(training: Training) -> list[dict[str, Any]]:
    return run(training, _here["laboratories"], _here["n"], _here["device"])
