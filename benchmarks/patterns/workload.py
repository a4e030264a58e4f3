"""Workload of all patterns and the events they write.

Imports nothing of the project, since some patterns must not.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES, SETTINGS, EVENTS, SLOTS = "images.npz", "workload.json", "events.jsonl", "slots.json"
LOWEST_LR, HIGHEST_LR, HIGHEST_DROPOUT = 0.002, 0.02, 0.6


@dataclass(frozen=True, kw_only=True)
class Point:
    """Parameters that differ between trials."""

    lr: float
    dropout: float


@dataclass(frozen=True, kw_only=True)
class Images:
    """Pixels, uint8 (n, side, side, 3); labels, int64 (n,); and the indices of both sides of the one split."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Trials of a run; `folder` holds the images and receives the events."""

    folder: Path
    points: list[Point]
    epochs: int
    batch_size: int
    side: int
    width: float
    placement: str
    n_classes: int

    def save(self, images: Images) -> None:
        """Write everything a pattern reads."""
        np.savez(self.folder / IMAGES, **vars(images))
        (self.folder / SETTINGS).write_text(json.dumps({**asdict(self), "folder": str(self.folder)}))

    def images(self) -> Images:
        """Read the images."""
        with np.load(self.folder / IMAGES) as arrays:
            return Images(**arrays)

    def say_slots(self, n: int) -> None:
        """Write down how many trials run at once."""
        (self.folder / SLOTS).write_text(json.dumps(n))

    def record(self, trial: int, epoch: int, started: float, ended: float) -> None:
        """Write an event: an epoch's training from first to last step, by time.time(), validated just now."""
        times = {"started": started, "ended": ended, "validated": time.time()}
        with (self.folder / EVENTS).open("a") as file:  # a line is short enough for an atomic append
            file.write(json.dumps({"trial": trial, "epoch": epoch, **times}) + "\n")


def load_workload(folder: Path) -> Workload:
    """Read a saved workload."""
    settings = json.loads((folder / SETTINGS).read_text())
    points = [Point(**point) for point in settings.pop("points")]
    return Workload(**{**settings, "folder": folder, "points": points})


def draw_points(n: int) -> list[Point]:
    """Draw n points, the same ones for every pattern and at every call."""
    return list(_points(np.random.default_rng(0), n))


def _points(rng: np.random.Generator, n: int) -> Iterator[Point]:
    for _ in range(n):
        lr = float(np.exp(rng.uniform(np.log(LOWEST_LR), np.log(HIGHEST_LR))))
        yield Point(lr=lr, dropout=float(rng.uniform(0, HIGHEST_DROPOUT)))
