"""What AdamW reaches in fewer epochs than SGD: scores on folds, and processor time.

    python -m benchmarks.optimizers --data CELLS --folds 4

Both optimizers train the same networks, of every norm and of two placements, on the same folds from the same
weights, each with its own epochs, batch size and learning rate. A fold's score is the mean over placements.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Annotated

import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from benchmarks.throughput import machine
from search.analysis.statistics import interval_over_folds
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.data.sources import SYNTHETIC, open_source
from search.data.splits import Split, stratified_folds
from search.space import Configuration, TrainingConfig
from search.training.device import Device, prepare_worker
from search.training.folds import run_task
from search.training.types import Images, Task
from wbcmodels.config import ModelConfig
from wbcmodels.stages import Norm

NORMS: tuple[Norm, ...] = ("batch", "group", "none")
PLACEMENTS = ("none", "1+2")
METRICS = ("accuracy", "balanced_accuracy", "brier")
N_FOLDS = 10

app = make_app("benchmarks.optimizers")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training of one network on one fold."""

    fold: int
    split: Split
    configuration: Configuration


@app.default
def main(
    *,
    data: str = SYNTHETIC,
    folds: Annotated[int, Parameter(validator=Number(gte=2, lte=N_FOLDS))] = N_FOLDS,
    side: Annotated[int, Parameter(validator=Number(gte=4))] = 28,
    sgd_epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 12,
    adamw_epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 6,
    adamw_batch_size: Annotated[int, Parameter(validator=Number(gte=2))] = 32,
    sgd_lr: Annotated[float, Parameter(validator=Number(gt=0))] = 0.02,
    adamw_lr: Annotated[float, Parameter(validator=Number(gt=0))] = 0.001,
) -> None:
    """Compare SGD, in batches of 32, with AdamW.

    Args:
        data: "synthetic", or a folder of images.
        folds: Of ten, those to train on.
        side: Input side in px.
        sgd_epochs: Epochs of SGD.
        adamw_epochs: Epochs of AdamW.
        adamw_batch_size: Images per step of AdamW.
        sgd_lr: Highest learning rate of SGD.
        adamw_lr: Highest learning rate of AdamW.
    """
    cells = open_source(data, microscope="first", seed=0).decode([side])
    trainings = (
        TrainingConfig(epochs=sgd_epochs, lr=sgd_lr, class_weighting="balanced"),
        TrainingConfig(
            epochs=adamw_epochs,
            lr=adamw_lr,
            optimizer="adamw",
            batch_size=adamw_batch_size,
            class_weighting="balanced",
        ),
    )
    console = make_console()
    console.print(f"{machine()}; {cells.source}, {len(cells.labels)} images, {side} px", soft_wrap=True)
    console.print(compared(measured(cells, trainings, side, folds), len(cells.labels)))


def measured(cells: ImageSet, trainings: Sequence[TrainingConfig], side_px: int, n_folds: int) -> pd.DataFrame:
    """Scores and processor time of every training: optimizer, norm, fold, metrics and train_s."""
    folds = stratified_folds(cells.labels, cells.groups, n_folds=N_FOLDS, seed=0)[:n_folds]
    jobs = [
        Job(
            fold=fold,
            split=split,
            configuration=Configuration(
                model=ModelConfig(placement=placement, norm=norm, dropout=0.2, input_px=side_px, width=0.25),
                training=training,
            ),
        )
        for fold, split in enumerate(folds)
        for norm in NORMS
        for placement in PLACEMENTS
        for training in trainings
    ]
    images = Images(pixels=cells.pixels, labels=cells.labels, n_classes=len(cells.classes))
    n_workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(n_workers, get_context("spawn"), initializer=_begin, initargs=(images,)) as pool:
        return pd.DataFrame(pool.map(_train, jobs))


def compared(scores: pd.DataFrame, n_images: int) -> Table:
    """Scores by norm and optimizer in points, and their differences with 95 % intervals over folds."""
    n_folds = scores["fold"].nunique()
    table = Table(title=f"AdamW and SGD on {n_folds} of {N_FOLDS} folds", title_justify="left")
    for column in ("norm", "", *METRICS, "time"):
        table.add_column(column, justify="left" if column in ("norm", "") else "right")
    n_test = n_images / N_FOLDS
    for norm in NORMS:
        of_norm = scores[scores["norm"] == norm]
        means = {
            str(name): rows.groupby("fold")[list(METRICS)].mean() for name, rows in of_norm.groupby("optimizer")
        }
        seconds = {str(name): rows["train_s"].sum() for name, rows in of_norm.groupby("optimizer")}
        for name in ("sgd", "adamw"):
            row = means[name].mean()
            table.add_row(
                norm, name, *(f"{100 * row[metric]:.1f}" for metric in METRICS), f"{seconds[name]:.0f} s"
            )
        differences = means["adamw"] - means["sgd"]
        cells = []
        for metric in METRICS:
            found = interval_over_folds(100 * differences[metric].to_numpy(), n_images - n_test, n_test)
            cells.append(f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})")
        table.add_row(norm, "difference", *cells, f"× {seconds['adamw'] / seconds['sgd']:.2f}")
    return table


_images: Images
_device: Device


def _begin(images: Images) -> None:
    global _images, _device
    _images, _device = images, prepare_worker(1, gpu_share=0.0)


def _train(job: Job) -> dict[str, object]:
    task = Task(
        configuration=job.configuration,
        train=job.split.train,
        val=job.split.val,
        seed=derive_seed(0, "optimizers", job.fold),
        validate_once=True,
    )
    began = time.process_time()
    *_, last = run_task(task, _images, _device)
    assert last.score is not None  # a training ends with its score
    assert last.score.metrics is not None
    assert isinstance(job.configuration.model, ModelConfig)
    return {
        "optimizer": job.configuration.training.optimizer,
        "norm": job.configuration.model.norm,
        "fold": job.fold,
        **{metric: getattr(last.score.metrics, metric) for metric in METRICS},
        "train_s": time.process_time() - began,
    }


if __name__ == "__main__":
    run_app(app)
