"""Gauges of a running study at Ray's Prometheus endpoint, where Ray prefixes their names with `ray_`.

Ray exports all gauges every 10 s, whether or not they were set again. It has no call that removes a series; one
that is set to NaN is not exported, and disappears from the endpoint two exports later (seen in Ray 2.60).
"""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.util.metrics import Gauge

from search.records.observers import Training
from search.records.schema import Key, Phase
from search.training.types import EpochScore

WINDOW_S = 60.0
SET_EVERY_S = 1.0
STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL")

# name -> (description, tags other than the study)
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "wbc_search_best_score": ("best score of a complete trial so far", ("level",)),
    "wbc_search_trials": ("trials of the search by state", ("state",)),
    "wbc_search_epochs_per_second": ("epochs trained per second, of all slots together", ()),
    "wbc_search_images_per_second": ("training images per second, of all slots together", ()),
    "wbc_search_validation_score": ("score on the validation images after the last epoch", ("trial", "level")),
    "wbc_search_gpu_memory_bytes": ("memory of its GPU that a worker holds", ("gpu",)),
}


def make_gauge(name: str) -> Gauge:
    """One of `GAUGES`."""
    description, tags = GAUGES[name]
    return Gauge(name, description=description, tag_keys=("study", *tags))


class StudyGauges:
    """An observer that sets a study's gauges in the driver.

    Args:
        study: name of its folder.
        metric: the score, one of `search.common.metrics.Metrics`.
        trials: rows of the trials table, of earlier runs.
    """

    def __init__(self, study: str, metric: str, trials: Iterable[Mapping[str, Any]]) -> None:
        self._study, self._metric = _tag(study), metric
        self._gauges = {name: make_gauge(name) for name in GAUGES if name != "wbc_search_gpu_memory_bytes"}
        self._running: dict[Key, Training] = {}
        self._ended: Counter[str] = Counter()
        self._best: dict[str, float] = {}
        self._rates = Rates()
        self._set_at = -math.inf
        for row in trials:
            self._count(row["level"], row["state"], row["value"])
        self.tick()

    def begin(self, training: Training) -> None:
        """Count a training as running."""
        if not self._running:
            self._set_at = -math.inf  # many trainings take less than a second
        self._running[training.key] = training
        self.tick()

    def epoch(self, training: Training, fold: int, epoch: EpochScore) -> None:
        """Set the score after an epoch."""
        took_s = epoch.training.train_s + epoch.val_s
        self._rates.add(time.monotonic(), took_s, training.n_train)
        if training.key.phase == Phase.SEARCH and epoch.validation is not None:
            self._set_score(training, float(getattr(epoch.validation, self._metric)))

    def end(self, training: Training, state: str, value: float | None) -> None:
        """End a training's series, and count it by its state."""
        self._running.pop(training.key, None)
        if training.key.phase == Phase.SEARCH:
            self._set_score(training, math.nan)
            self._count(training.key.level or "", state, value)
        if not self._running:
            self._set_at = -math.inf  # the next event may be far off
        self.tick()

    def tick(self) -> None:
        """Set rates, counts and best scores, at most once a second."""
        now = time.monotonic()
        if now - self._set_at < SET_EVERY_S:
            return
        self._set_at = now
        epochs, images = self._rates.at(now) if self._running else (0.0, 0.0)
        self._set("wbc_search_epochs_per_second", epochs)
        self._set("wbc_search_images_per_second", images)
        running = sum(training.key.phase == Phase.SEARCH for training in self._running.values())
        for state in STATES:
            self._set("wbc_search_trials", running if state == "RUNNING" else self._ended[state], state=state)
        for level, score in self._best.items():
            self._set("wbc_search_best_score", score, level=level)

    def close(self) -> None:
        """Leave no series behind: a Ray that was joined keeps running."""
        for training in self._running.values():
            if training.key.phase == Phase.SEARCH:
                self._set_score(training, math.nan)
        for level in self._best:
            self._set("wbc_search_best_score", math.nan, level=level)
        for state in STATES:
            self._set("wbc_search_trials", math.nan, state=state)
        self._set("wbc_search_epochs_per_second", math.nan)
        self._set("wbc_search_images_per_second", math.nan)

    def _count(self, level: str, state: str, value: float | None) -> None:
        self._ended[state] += 1
        if state == "COMPLETE" and value is not None:
            self._best[level] = max(value, self._best.get(level, -math.inf))

    def _set_score(self, training: Training, score: float) -> None:
        key = training.key
        self._set("wbc_search_validation_score", score, trial=str(key.number), level=key.level or "")

    def _set(self, name: str, value: float, **tags: str) -> None:
        self._gauges[name].set(value, {"study": self._study, **{tag: _tag(text) for tag, text in tags.items()}})


def _tag(name: str) -> str:
    """A name as the value of a tag, which Ray takes in ASCII alone."""
    return name.encode("ascii", "backslashreplace").decode()


class Rates:
    """Epochs and images per second over the last minute, or over twice the longest epoch that ended in it.

    A pause that is shorter counts as time in which nothing was trained; after a longer one, time starts anew.
    """

    def __init__(self) -> None:
        self._done: deque[tuple[float, float, int]] = deque()
        self._began = 0.0

    def add(self, now: float, took_s: float, n_images: int) -> None:
        """Count an epoch that ended just now."""
        if not self._done:
            self._began = now - took_s
        self._done.append((now, took_s, n_images))

    def at(self, now: float) -> tuple[float, float]:
        """Epochs and images per second."""
        window_s = max([WINDOW_S, *(2 * took_s for _, took_s, _ in self._done)])
        while self._done and self._done[0][0] < now - window_s:
            self._done.popleft()
        over_s = max(1.0, min(window_s, now - self._began))
        return len(self._done) / over_s, sum(n_images for _, _, n_images in self._done) / over_s


class MemoryGauge:
    """The memory that a worker holds on its GPU; made in the worker, and its series ends with it."""

    def __init__(self, study: str) -> None:
        self._gauge = make_gauge("wbc_search_gpu_memory_bytes")
        self._tags = {"study": _tag(study), "gpu": ",".join(map(str, ray.get_gpu_ids()))}

    def set(self) -> None:
        """Set the gauge to the memory held now."""
        import torch  # the driver imports this module too, and needs no torch

        self._gauge.set(torch.cuda.memory_reserved(), self._tags)
