"""What all phases of a study share: its data and splits, its folder and ledger, and how it runs trainings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.common.console import ProgressReporter
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.data.splits import Indices, Split, stratified_folds
from search.records.arguments import Arguments
from search.records.checkpoints import CheckpointFolder
from search.records.description import Plan
from search.records.ledger import Ledger
from search.records.observers import Observers, Training
from search.records.recorder import FoldRecorder
from search.records.schema import Key
from search.records.studyfolder import StudyFolder
from search.records.timing import Timing
from search.space import Configuration, Params, Space
from search.study.plan import FROZEN_SHARE, training_cost
from search.training.checkpoint import Checkpoint
from search.training.types import FoldScore, Images, Task
from search.tuning.cluster import Cluster
from search.tuning.pool import Job, Workers, share


@dataclass(kw_only=True)
class Study:
    """A study under way.

    Attributes:
        source, target: decoded images; `target` is None where nothing is transferred.
        development, locked: image indices of the source.
        shared: data sets and weights in Ray's object store, by name.
        photograph: gives an image of the source by its name, see `search.data.imageset.Source`.
        observers: of every epoch.
        timing: of this run.
    """

    arguments: Arguments
    space: Space
    plan: Plan
    source: ImageSet
    target: ImageSet | None
    development: Indices
    locked: Indices
    folder: StudyFolder
    ledger: Ledger
    cluster: Cluster
    reporter: ProgressReporter
    workers: Workers
    photograph: Callable[[str], NDArray[np.uint8]]
    observers: Observers
    shared: dict[str, Any] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)

    @property
    def checkpoints(self) -> CheckpointFolder:
        """States of running trainings."""
        return self.folder.checkpoints

    @property
    def seed(self) -> int:
        """Of the whole study."""
        return self.arguments.seed

    @property
    def metric(self) -> str:
        """What is searched for, and what differences are of."""
        return self.arguments.metric

    def share_images(self) -> None:
        """Put the images where all workers read them."""
        for data in (self.source, self.target):
            if data is not None:
                images = Images(pixels=data.pixels, labels=data.labels, n_classes=len(data.classes))
                self.shared[data.source] = share(images)

    def partition(
        self, data: ImageSet, among: Indices, purpose: str, n_folds: int, repeat: int = 0
    ) -> list[Split]:
        """Folds of some images of a data set; each purpose and repeat has a partition of its own."""
        seed = derive_seed(self.seed, "folds", purpose, repeat)
        return stratified_folds(data.labels, data.groups, n_folds=n_folds, seed=seed, among=among)

    def comparison_splits(self, data: ImageSet, among: Indices, purpose: str) -> Iterator[tuple[int, int, Split]]:
        """Repeat, fold and split of every comparison fold."""
        for repeat in range(self.plan.repeats):
            for fold, split in enumerate(self.partition(data, among, purpose, self.plan.folds, repeat)):
                yield repeat, fold, split

    def run_folds(
        self,
        entries: Sequence[tuple[Key, Job]],
        data: ImageSet,
        keep: Callable[[Key, FoldScore], None] = lambda key, score: None,
    ) -> None:
        """Run trainings that are not on record yet, and record each as it ends.

        A training that fails is told as a note, and is on no record.

        Args:
            keep: called with what a training gave, before it goes on record.
        """
        recorder = FoldRecorder(self.ledger, data)
        done = {_identity(row) for row in self.ledger.read("folds").select(_IDENTITY).to_pylist()}
        todo = [(key, job) for key, job in entries if _identity(asdict(key)) not in done]
        for key, job in entries:
            if _identity(asdict(key)) in done:
                self.reporter.credit(self._cost(job.task, data))
        trainings = [_training(key, job) for key, job in todo]

        def begin(index: int) -> bytes | None:
            saved = self.take_back(todo[index][0])
            self.observers.begin(trainings[index])
            return saved

        for result in self.workers.run(
            [job for _, job in todo],
            self.shared,
            title=lambda index: trainings[index].title,
            checkpoint=begin,
            tick=self.tick,
        ):
            (key, job), step, training = todo[result.index], result.step, trainings[result.index]
            if step is None:
                self.reporter.worked(self._cost(job.task, data))
                self.reporter.note(f"{_described(key)} failed: {result.error}")
                self.observers.end(training, "FAIL", None)
                continue
            self.reporter.worked(self._cost(job.task, data) / job.task.configuration.training.epochs)
            self.timing.add(step.epoch)
            recorder.epochs(key, [step.epoch])
            self.observers.epoch(training, 0, step.epoch)
            if step.score is not None:
                keep(key, step.score)
                recorder.fold(key, step.score, job.task.val)
                self.checkpoints.remove(key)
                scores = step.score.metrics
                self.observers.end(
                    training, "COMPLETE", None if scores is None else float(getattr(scores, self.metric))
                )
            elif step.checkpoint is not None:
                self.checkpoints.keep(key, step.checkpoint)

    def tick(self) -> None:
        """Keep the tables current, and those who look on."""
        self.ledger.flush_if_due()
        self.observers.tick()

    def renew(self, phase: str, keys: Sequence[tuple[Key, Params]]) -> bool:
        """Say what a phase is about to train, and remove what is on record of it for other parameters.

        An extended study may choose other parameters for a level than it did before.

        Returns:
            Whether anything of an earlier choice was on record.
        """
        subjects = self.folder.description.get("subjects", {})
        old = subjects.get(phase, [])
        new = [{"level": key.level, "settings": key.settings, "params": params} for key, params in keys]
        outdated = [subject for subject in old if subject not in new]
        if outdated:
            self.checkpoints.clear()
        data = keys[0][0].data
        for subject in outdated:
            self.ledger.forget_all(phase=phase, level=subject["level"], settings=subject["settings"], data=data)
        self.folder.update(subjects={**subjects, phase: new})
        return bool(outdated)

    def take_back(self, key: Key) -> bytes | None:
        """The state kept of a training or trial that has not ended; rows that lie beyond it are removed."""
        saved, position = self.checkpoints.load(key), (0, 0)
        if saved is not None:
            try:
                position = Checkpoint.from_bytes(saved).position
            except ValueError:
                self.reporter.note(f"{_described(key)}: its checkpoint is damaged, so it begins anew")
                self.checkpoints.remove(key)
                saved = None
        folds, epochs = position
        self.ledger.forget(key, beyond=(key.fold or folds, epochs))
        return saved

    def frame(self, table: str, phase: str) -> pd.DataFrame:
        """The rows of one phase in a table."""
        whole: pd.DataFrame = self.ledger.read(table).to_pandas()
        return whole[whole["phase"] == phase]

    def trials(self) -> list[dict[str, Any]]:
        """The trials that ended, with their parameters under `params`."""
        rows = self.ledger.read("trials").to_pylist()
        return [{**row, "params": params_of(row)} for row in rows]

    def _cost(self, task: Task, data: ImageSet) -> float:
        configuration = sized(task.configuration, data)
        cost = training_cost(configuration, len(task.train), len(task.val))
        return cost * FROZEN_SHARE if task.way == "frozen" else cost


def params_of(row: dict[str, Any]) -> Params:
    """The parameters in a table's row; those of other branches of a conditional space are null there."""
    prefix = "params_"
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }


def sized(configuration: Configuration, data: ImageSet) -> Configuration:
    """The configuration with as many outputs as the data have classes."""
    return replace(configuration, model=replace(configuration.model, n_classes=len(data.classes)))


# The seed follows from the rest.
_IDENTITY = ["phase", "number", "level", "settings", "way", "data", "repeat", "fold"]


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _IDENTITY)


def _described(key: Key) -> str:
    trial = None if key.number is None else f"trial {key.number}"
    parts = [key.phase, trial, key.level, key.settings, key.way]
    repeat = f", repeat {key.repeat}" if key.repeat else ""
    place = "" if key.fold is None else f", fold {key.fold}"
    return " ".join(part for part in parts if part) + repeat + place


def _training(key: Key, job: Job) -> Training:
    """A training of a phase after the search, as observers know it."""
    configuration = job.task.configuration
    return Training(
        key=key,
        title=_described(key),
        params={**asdict(configuration.model), **asdict(configuration.training)},
        n_train=len(job.task.train),
        epochs=configuration.training.epochs,
    )
