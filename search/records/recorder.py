"""The recorder: writes what a training yields to tables, checkpoints, timing, observers and the progress bar.

A process that is killed at any moment must leave a study that resumes exactly. So an epoch's row is written before
the checkpoint that follows it, and a fold's predictions before the fold's row, which marks it as finished.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.common.console import ProgressReporter
from search.data.imageset import ImageSet
from search.data.splits import Indices
from search.records.checkpoints import CheckpointFolder
from search.records.ledger import Ledger
from search.records.observers import Observers, Training
from search.records.schema import Key, Phase
from search.records.timing import Timing
from search.training.checkpoint import Checkpoint
from search.training.types import Elsewhere, ElsewhereScore, FoldScore, Step, epoch_row

PROBABILITY_DIGITS = 7


class Recorder:
    """Records trials of the search and trainings of the later phases.

    Args:
        images: the data sets that are trained on or scored.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        checkpoints: CheckpointFolder,
        images: Iterable[ImageSet],
        timing: Timing,
        observers: Observers,
        reporter: ProgressReporter,
    ) -> None:
        self._ledger, self._checkpoints = ledger, checkpoints
        self._images = {data.source: data for data in images}
        self._timing, self._observers, self._reporter = timing, observers, reporter

    def begin(self, training: Training) -> None:
        """Announce a training that begins or resumes."""
        self._observers.begin(training)

    def checkpoint(self, training: Training) -> bytes | None:
        """The checkpoint of a training; None without one."""
        return self._checkpoints.load(training.key)

    def rewind(self, key: Key, elsewhere: Iterable[Elsewhere] = ()) -> None:
        """Remove the rows of an unfinished training that lie beyond its checkpoint, and a damaged checkpoint.

        Args:
            elsewhere: further data sets that it scores, at its end.
        """
        folds, epochs = 0, 0
        saved = self._checkpoints.load(key)
        if saved is not None:
            try:
                folds, epochs = Checkpoint.from_bytes(saved).position
            except ValueError:
                self._reporter.note(f"{title_of(key)}: its checkpoint is damaged, so it starts over")
                self._checkpoints.remove(key)
        self._ledger.forget(key, beyond=(key.fold or folds, epochs))
        for where in elsewhere:
            scored = asdict(replace(key, phase=Phase(where.phase), data=where.data))
            del scored["way"], scored["seed"]  # in all ways; the seed follows from the rest
            self._ledger.forget_all(**scored)

    def step(self, training: Training, step: Step) -> None:
        """Record an epoch, the fold that ends with it, and the checkpoint after it."""
        key = training.row_key(step.fold)
        self._timing.add(step.epoch)
        row = epoch_row(step.epoch)
        self._ledger.add_row("epochs", vars(key), row)
        self._observers.epoch(training, step.fold, step.epoch)
        if step.score is not None:
            self._enter_fold(key, step.score, training.validation[step.fold])
        if step.checkpoint is not None:
            self._ledger.sync()
            self._checkpoints.keep(training.key, step.checkpoint)
        spent_s = step.epoch.training.train_s + step.epoch.val_s
        self._reporter.clock.worked(key.phase, str(key.level), training.epoch_cost, spent_s)
        self._reporter.refresh()

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Announce how a training ended, after its rows are written, and remove its checkpoint."""
        self._checkpoints.remove(training.key)
        self._observers.end(training, state, value)

    def tick(self) -> None:
        """Keep tables and observers current; called a few times a second."""
        self._ledger.flush_if_due()
        self._observers.tick()

    def _enter_fold(self, key: Key, score: FoldScore, val: Indices) -> None:
        data = self._images[str(key.data)]
        for elsewhere in score.elsewhere:
            self._enter_elsewhere(key, score.n_train, data.classes, elsewhere)
        if len(val):
            self._enter_predictions(key, data, val, data.classes, score.probabilities)
        metrics = {} if score.metrics is None else asdict(score.metrics)
        row = {"n_train": score.n_train, "n_val": score.n_val, **metrics, "train_s": score.train_s}
        self._ledger.add_row("folds", vars(key), row)

    def _enter_elsewhere(self, key: Key, n_train: int, classes: Sequence[str], score: ElsewhereScore) -> None:
        """Record a training's score on a further data set; its time is in the training's own row."""
        there = replace(key, phase=Phase(score.phase), way=score.way, data=score.data)
        self._enter_predictions(there, self._images[score.data], score.indices, classes, score.probabilities)
        row = {"n_train": n_train, "n_val": len(score.indices), **asdict(score.metrics)}
        self._ledger.add_row("folds", vars(there), row)

    def _enter_predictions(
        self, key: Key, data: ImageSet, scored: Indices, classes: Sequence[str], probabilities: NDArray[np.float64]
    ) -> None:
        """Record predictions.

        Args:
            data: that holds the images.
            scored: their indices.
            classes: of the network.
        """
        columns: dict[str, list[Any]] = {
            "image": [data.names[i] for i in scored],
            "label": [data.classes[data.labels[i]] for i in scored],
            "predicted": [classes[k] for k in probabilities.argmax(1)],
        }
        for k, name in enumerate(classes):
            columns[f"probability_{name}"] = probabilities[:, k].round(PROBABILITY_DIGITS).tolist()
        self._ledger.add("predictions", vars(key), columns)


def title_of(key: Key) -> str:
    """A training's key for a person."""
    trial = None if key.number is None else f"trial {key.number}"
    setting = None if key.setting is None or key.number is not None else f"setting {key.setting}"
    parts = [key.phase, trial, key.level, setting, key.way]
    repeat = f", repeat {key.repeat}" if key.repeat else ""
    place = "" if key.fold is None else f", fold {key.fold}"
    return " ".join(part for part in parts if part) + repeat + place
