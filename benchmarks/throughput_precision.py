"""Accuracy of one configuration on ten folds in bf16 and in fp32."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from search.analysis.statistics import Interval, interval_over_folds
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.data.splits import stratified_folds
from search.space import Configuration
from search.training.device import Device
from search.training.folds import run_task
from search.training.types import Images, Task

N_FOLDS = 10


@dataclass(frozen=True)
class Precision:
    """Accuracy on every fold, and seconds of training over all of them."""

    accuracies: NDArray[np.float64]
    train_s: float


def print_precision(console: Console, images: ImageSet, configuration: Configuration) -> None:
    """Train on the same folds with the same seeds in both precisions and print the difference."""
    began = time.monotonic()
    bf16, fp32 = (cross_validated(images, configuration, bf16=bf16) for bf16 in (True, False))
    took_s = time.monotonic() - began
    n = len(images.labels)
    n_train, n_test = n * (N_FOLDS - 1) / N_FOLDS, n / N_FOLDS
    title = f"Accuracy on {N_FOLDS} folds of {n} images, {took_s:.0f} s in all (corrected 95 % intervals)"
    table = Table(title=title, title_justify="left")
    for column in ("precision", "accuracy, %", "interval", "training, s"):
        table.add_column(column, justify="left" if column == "precision" else "right")
    for name, precision in (("bf16", bf16), ("fp32", fp32)):
        interval = interval_over_folds(precision.accuracies, n_train, n_test)
        table.add_row(name, f"{100 * interval.mean:.2f}", _ends(interval), f"{precision.train_s:.1f}")
    difference = interval_over_folds(bf16.accuracies - fp32.accuracies, n_train, n_test)
    table.add_row("bf16 - fp32", f"{100 * difference.mean:+.2f}", _ends(difference), "")
    console.print(table)


def cross_validated(images: ImageSet, configuration: Configuration, *, bf16: bool) -> Precision:
    """Train and score one configuration on every fold."""
    device = Device(torch.device("cpu"), bf16=bf16)
    shared = Images(pixels=images.pixels, labels=images.labels, n_classes=len(images.classes))
    accuracies, train_s = [], 0.0
    for fold, split in enumerate(stratified_folds(images.labels, images.groups, n_folds=N_FOLDS, seed=0)):
        task = Task(
            configuration=configuration,
            train=split.train,
            val=split.val,
            seed=derive_seed(0, "precision", fold),
            validate_once=True,
        )
        *_, last = run_task(task, shared, device)
        assert last.score is not None  # a training ends with its score
        assert last.score.metrics is not None
        accuracies.append(last.score.metrics.accuracy)
        train_s += last.score.train_s
    return Precision(np.array(accuracies), train_s)


def _ends(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"
