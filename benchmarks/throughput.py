"""Training images per second of this project's search, of two common patterns, and of the machine's limit.

    python -m benchmarks.throughput --data CELLS
    python -m benchmarks.throughput --data CELLS --precision

All patterns train the same configurations for all of their epochs on the same 80/20 split, with a validation after
every epoch. Patterns run one after another, each in a process of its own:

    tune_tutorial   a function trainable on Ray Tune with a DataLoader, as in Tune's PyTorch tutorial
    optuna_loop     Optuna's PyTorch example, the loop inside the objective
    limit_frozen    a plain loop on every core, frozen as it was first written
    limit           this project's step on every core, and nothing else
    search          this project's search, with its journals, tables and checkpoints

Images are decoded beforehand. The rate covers the time from the first step of any trial to the last, without
start-up. The first result counts from the start of the process. Lost is the time between a trial's last
validation and the first step of the next trial in its slot. Memory is that of all processes of the pattern,
shared pages counted once. The second command compares accuracies in bf16 and fp32. Linux only: it reads /proc.
The first two patterns need torchvision.
"""

import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from benchmarks.patterns.workload import Images, Workload, draw_points
from benchmarks.throughput_measures import run_pattern
from benchmarks.throughput_precision import print_precision
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.data.imageset import ImageSet
from search.data.sources import SYNTHETIC, open_source
from search.data.splits import stratified_folds
from search.records.arguments import one_of
from search.space import Configuration, TrainingConfig
from wbcmodels.config import PLACEMENTS, ModelConfig

PATTERNS = ("tune_tutorial", "optuna_loop", "limit_frozen", "limit", "search")
MEASURES = {"images/s": "images_per_s", "first result, s": "first_result_s"} | {
    "lost per trial, s": "lost_per_trial_s",
    "memory, MB": "peak_memory_mb",
}

app = make_app("benchmarks.throughput")


@app.default
def main(
    *,
    data: str = SYNTHETIC,
    side: Annotated[int, Parameter(validator=Number(gte=4))] = 40,
    width: Annotated[float, Parameter(validator=Number(gte=0.01))] = 0.25,
    placement: str = "1",
    batch_size: Annotated[int, Parameter(validator=Number(gte=1))] = 32,
    trials: Annotated[int, Parameter(validator=Number(gte=1))] = 8,
    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    images: Annotated[int | None, Parameter(validator=Number(gte=20))] = None,
    patterns: str = ",".join(PATTERNS),
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    output: Path | None = None,
    smallest: bool = False,
    precision: bool = False,
) -> None:
    """Measure patterns of search against each other and against the limit.

    Args:
        data: "synthetic", or a folder of images.
        side: Input side in px.
        width: Width of the networks.
        placement: Stages with a residual block, such as 1+2, or none.
        batch_size: Images per step.
        trials: Number of configurations.
        epochs: Epochs of every training.
        images: Maximum number of images, drawn at random.
        patterns: Patterns to measure, comma-separated.
        rounds: Number of repeats; each starts with another pattern.
        output: Parquet file to write, one row per round and pattern.
        smallest: Check that it runs; overrides the sizes.
        precision: Compare bf16 with fp32 instead.
    """
    if smallest:
        # One trial more than slots; otherwise no time is lost between trials.
        side, width, batch_size, images, epochs, rounds = 16, 0.125, 16, 60, 1, 1
        trials = len(os.sched_getaffinity(0)) + 1
    one_of("--placement", placement, PLACEMENTS)
    names = patterns.split(",")
    for name in names:
        one_of("--patterns", name, PATTERNS)
    console = make_console()
    cells = capped(open_source(data, microscope="first", seed=0).decode([side]), images)
    console.print(f"{machine()}; {cells.source}, {len(cells.labels)} images", soft_wrap=True)
    workload = Workload(
        folder=Path(),
        points=draw_points(trials),
        epochs=epochs,
        batch_size=batch_size,
        side=side,
        width=width,
        placement=placement,
        n_classes=len(cells.classes),
    )
    if precision:
        print_precision(console, cells, configuration(workload))
        return
    frame = measure(cells, workload, names, rounds)
    if output is not None:
        frame.to_parquet(output, index=False)
    print_measures(console, frame)
    print_ratios(console, frame)


def capped(cells: ImageSet, n: int | None) -> ImageSet:
    """Up to n of the images, drawn at random."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(cells.labels))[:n])
    return replace(
        cells,
        names=tuple(cells.names[i] for i in chosen),
        labels=cells.labels[chosen],
        groups=None if cells.groups is None else cells.groups[chosen],
        pixels={side: pixels[chosen] for side, pixels in cells.pixels.items()},
    )


def configuration(workload: Workload) -> Configuration:
    """First configuration of a workload."""
    point = workload.points[0]
    model = ModelConfig(
        placement=workload.placement, dropout=point.dropout, input_px=workload.side, width=workload.width
    )
    training = TrainingConfig(epochs=workload.epochs, lr=point.lr, batch_size=workload.batch_size)
    return Configuration(model=model, training=training)


def measure(cells: ImageSet, workload: Workload, patterns: Sequence[str], rounds: int) -> pd.DataFrame:
    """Run the patterns; returns one row per round and pattern."""
    split = stratified_folds(cells.labels, cells.groups, n_folds=5, seed=0)[0]
    images = Images(pixels=cells.pixels[workload.side], labels=cells.labels, train=split.train, val=split.val)
    common = {
        "n_trials": len(workload.points),
        "epochs": workload.epochs,
        "side_px": workload.side,
        "width": workload.width,
        "placement": workload.placement,
        "batch_size": workload.batch_size,
        "n_train": len(split.train),
        "n_val": len(split.val),
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": version("torch"),
        "ray": version("ray"),
        "date": datetime.now(UTC),
    }
    rows = []
    for number in range(rounds):
        first = number % len(patterns)  # so that a drift over time does not always hit the same one
        for pattern in [*patterns[first:], *patterns[:first]]:
            with tempfile.TemporaryDirectory(prefix="wbc-throughput-") as folder:
                there = replace(workload, folder=Path(folder))
                there.save(images)
                rows.append({"round": number, "pattern": pattern, **asdict(run_pattern(pattern, there)), **common})
    frame = pd.DataFrame(rows)
    limits = frame[frame["pattern"] == "limit"].set_index("round")["images_per_s"]
    frame.insert(3, "ratio_to_limit", frame["images_per_s"] / frame["round"].map(limits))
    return frame


def print_measures(console: Console, frame: pd.DataFrame) -> None:
    """Print the measures of every pattern."""
    row = frame.iloc[0]
    title = (
        f"{row['n_trials']} trials of {row['epochs']} epochs of {row['n_train']} images; placement "
        f"{row['placement']}, width {row['width']:g}, {row['side_px']} px, batches of {row['batch_size']}; "
        f"median (range) of {frame['round'].nunique()} rounds"
    )
    table = Table(title=title, title_justify="left")
    for column in ("pattern", *MEASURES):
        table.add_column(column, justify="left" if column == "pattern" else "right")
    for pattern, rows in frame.groupby("pattern", sort=False):
        table.add_row(str(pattern), *(_median(rows[name]) for name in MEASURES.values()))
    console.print(table)


def print_ratios(console: Console, frame: pd.DataFrame) -> None:
    """Print the ratio of every pattern's rate to that of every other, within rounds."""
    rates = frame.pivot(index="round", columns="pattern", values="images_per_s")
    patterns = list(dict.fromkeys(frame["pattern"]))
    table = Table(title="Images/s of the row divided by those of the column; median (range)", title_justify="left")
    for column in ("", *patterns):
        table.add_column(column, justify="right" if column else "left")
    for row in patterns:
        table.add_row(row, *("" if row == other else _median(rates[row] / rates[other]) for other in patterns))
    console.print(table)


def machine() -> str:
    """Machine, versions and date of the measurement."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    return f"{cpu()}, {len(os.sched_getaffinity(0))} cores; {versions}; {datetime.now(UTC):%Y-%m-%d}"


def cpu() -> str:
    """Name of the CPU, or of its architecture if the system does not report one."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _median(values: "pd.Series[float]") -> str:
    median, low, high = (f"{value:#.3g}".rstrip(".") for value in (values.median(), values.min(), values.max()))
    return median if len(values) == 1 else f"{median} ({low}-{high})"


if __name__ == "__main__":
    run_app(app)
