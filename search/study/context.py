"""The running study: its data, splits, folder and ledger, and how its phases train networks."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.common.console import ProgressReporter
from search.common.seeds import derive_seed
from search.data.given import comparison_folds
from search.data.imageset import ImageSet
from search.data.splits import Indices, Split, stratified_folds
from search.records.arguments import Arguments
from search.records.checkpoints import CheckpointFolder
from search.records.description import Plan
from search.records.ledger import Ledger
from search.records.observers import Observers, Training
from search.records.recorder import Recorder, title_of
from search.records.schema import Key, Phase
from search.records.studyfolder import StudyFolder
from search.records.timing import Timing
from search.space import CONTROL_LEVEL, Configuration, Params, Space
from search.study.elsewhere import elsewhere
from search.study.plan import UNTOUCHED_PASSES
from search.training.cost import frozen_cost, scoring_cost, training_cost
from search.training.types import Elsewhere, FoldScore, Images, Task
from search.tuning.cluster import Cluster
from search.tuning.pool import Job, Workers, share


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that a phase after the search trains, on one split or on many.

    Attributes:
        key: of its rows, without repeat, seed and fold.
        params: that the space made its configuration from.
        start_from: name of the shared weights that it starts from; None trains from scratch.
    """

    key: Key
    params: Params
    configuration: Configuration
    start_from: str | None = None

    def job(self, train: Indices, val: Indices, seed: int, **options: Any) -> Job:
        """One training of it; for the options, see `search.training.types.Task`."""
        way: Any = self.key.way or "scratch"
        task = Task(configuration=self.configuration, train=train, val=val, seed=seed, way=way, **options)
        return Job(task=task, data=str(self.key.data), start_from=self.start_from)


@dataclass(kw_only=True)
class Study:
    """A running study.

    Attributes:
        source, target: decoded images; `target` is None where nothing is transferred.
        shifts: laboratories that no training sees, on which every trial of the search is scored.
        reports: further laboratories, on which networks of the comparison are scored as they are.
        development, locked: image indices of the source.
        shared: references to data sets and weights in Ray's object store, by name.
        photograph: returns an image of the source by its name, see `search.data.imageset.Source`.
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
    shifts: tuple[ImageSet, ...] = ()
    reports: tuple[ImageSet, ...] = ()
    shared: dict[str, Any] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(
            ledger=self.ledger,
            checkpoints=self.checkpoints,
            images=self.images,
            timing=self.timing,
            observers=self.observers,
            reporter=self.reporter,
        )

    @property
    def checkpoints(self) -> CheckpointFolder:
        """Checkpoints of running trainings."""
        return self.folder.checkpoints

    @property
    def seed(self) -> int:
        """Seed of the whole study."""
        return self.arguments.seed

    @property
    def metric(self) -> str:
        """The searched metric, which differences are also computed from."""
        return self.arguments.metric

    @property
    def images(self) -> tuple[ImageSet, ...]:
        """All data sets."""
        return (self.source, *(() if self.target is None else (self.target,)), *self.shifts, *self.reports)

    def untouched(self, *, adapt: bool = False) -> tuple[Elsewhere, ...]:
        """The target, if networks of the source are scored there as they are.

        Args:
            adapt: also with the statistics of batch norms adapted to it.
        """
        return () if self.target is None else elsewhere(self.source, self.target, adapt=adapt)

    def shifted(self) -> tuple[Elsewhere, ...]:
        """The laboratories that trials of the search are scored on."""
        return tuple(where for data in self.shifts for where in elsewhere(self.source, data, phase="shift"))

    def reported(self) -> tuple[Elsewhere, ...]:
        """The further laboratories that networks of the comparison are scored on."""
        return tuple(where for data in self.reports for where in elsewhere(self.source, data, phase="shift"))

    def share_images(self) -> None:
        """Put the images into Ray's object store."""
        for data in self.images:
            images = Images(pixels=data.pixels, labels=data.labels, n_classes=len(data.classes))
            self.shared[data.source] = share(images)

    def partition(
        self, data: ImageSet, among: Indices, purpose: str, n_folds: int, repeat: int = 0
    ) -> list[Split]:
        """Folds of some images of a data set; each purpose and repeat has its own partition.

        The comparison takes the folds that the source gives, if it gives any, at every repeat.
        """
        seed = derive_seed(self.seed, "folds", purpose, repeat)
        if purpose == Phase.COMPARE:
            return comparison_folds(data, n_folds, seed, among)
        return stratified_folds(data.labels, data.groups, n_folds=n_folds, seed=seed, among=among)

    def cross_validation(
        self,
        networks: Sequence[Network],
        data: ImageSet,
        among: Indices,
        n_folds: int,
        repeat: int = 0,
        elsewhere: tuple[Elsewhere, ...] = (),
    ) -> list[tuple[Key, Job]]:
        """Trainings of networks of one phase on the same folds, each fold with the same seed for all of them.

        The control alone has seeds of its own. Of a fold, the most expensive network is first, so that none is
        trained alone in the end.

        Args:
            among: indices of the images to partition.
            repeat: number of the partition.
            elsewhere: further data sets that every network is scored on.
        """
        phase, entries = networks[0].key.phase, []
        dearest_first = sorted(
            networks, key=lambda n: training_cost(n.configuration, len(data.classes), 1, 0), reverse=True
        )
        for fold, split in enumerate(self.partition(data, among, phase, n_folds, repeat)):
            for network in dearest_first:
                own = (CONTROL_LEVEL,) if network.key.level == CONTROL_LEVEL else ()
                seed = derive_seed(self.seed, phase, repeat, fold, *own)
                key = replace(network.key, repeat=repeat, seed=seed, fold=fold)
                entries.append((key, network.job(split.train, split.val, seed, elsewhere=elsewhere)))
        return entries

    def train(
        self,
        entries: Sequence[tuple[Key, Job]],
        data: ImageSet,
        keep: Callable[[Key, FoldScore], None] = lambda key, score: None,
    ) -> None:
        """Run trainings that are not recorded yet, and record them. One that fails is reported and not recorded.

        One that is recorded without its scores on further data sets, by an earlier version or on other images, is
        not trained again, because its own scores stand; the user is told.

        Args:
            data: that all of them train on.
            keep: called with what a training gave, before it is recorded.
        """
        everything = [_training(key, job, data, self._sizes) for key, job in entries]
        self._expect(everything)
        clock = self.reporter.clock
        phases = {key.phase for key, _ in entries}
        phases |= {Phase(where.phase) for _, job in entries for where in job.task.elsewhere}
        recorded = [self.ledger.read("folds", phase=phase) for phase in phases]
        done = {_identity(row) for rows in recorded for row in rows.select(_IDENTITY).to_pylist()}
        trainings, jobs = [], []
        unscored: Counter[str] = Counter()
        for training, (key, job) in zip(everything, entries, strict=True):
            if _identity(asdict(key)) in done:
                clock.done_before(key.phase, str(key.level), training.cost)
                there = (_key_elsewhere(key, where) for where in job.task.elsewhere)
                unscored.update(str(own.data) for own in there if _identity(asdict(own)) not in done)
            else:
                trainings.append(training)
                jobs.append(job)

        for name, n in unscored.items():
            self.reporter.note(
                f"{n} of {len(entries)} trainings are recorded without their score on {name} as it is now; "
                "they are not trained again, so these scores are missing"
            )

        def begin(index: int) -> bytes | None:
            self.recorder.rewind(trainings[index].key, jobs[index].task.elsewhere)
            self.recorder.begin(trainings[index])
            return self.recorder.checkpoint(trainings[index])

        results = self.workers.run(
            jobs, self.shared, title=lambda index: trainings[index].title, begin=begin, tick=self.recorder.tick
        )
        for result in results:
            training, step = trainings[result.index], result.step
            if step is None:
                clock.saved(training.key.phase, str(training.key.level), training.cost)
                self.reporter.note(f"{training.title} failed: {result.error}")
                self.recorder.end(training, "FAIL", None)
                continue
            if step.score is not None:
                keep(training.key, step.score)
            self.recorder.step(training, step)
            if step.score is not None:
                metrics = step.score.metrics
                value = None if metrics is None else float(getattr(metrics, self.metric))
                self.recorder.end(training, "COMPLETE", value)

    def _expect(self, trainings: Sequence[Training]) -> None:
        """Tell the clock what a phase trains, of which these are the first."""
        phase = next(phase for phase in self.plan.phases if phase.name == trainings[0].key.phase)
        times = max(1.0, phase.trainings / len(trainings))  # further runs
        costs: defaultdict[str, float] = defaultdict(float)
        for training in trainings:
            costs[str(training.key.level)] += times * training.cost
        self.reporter.clock.expect(phase.name, costs)

    def renew(self, networks: Sequence[Network]) -> bool:
        """Note what a phase is about to train, and remove what is recorded of it for other parameters.

        An extended study may choose other parameters for a level than before.

        Returns:
            Whether anything of an earlier choice was recorded.
        """
        first, subjects = networks[0].key, self.folder.description.get("subjects", {})
        new: list[dict[str, Any]] = []
        for network in networks:
            subject = {"level": network.key.level, "setting": network.key.setting, "params": network.params}
            if subject not in new:
                new.append(subject)
        outdated = [subject for subject in subjects.get(first.phase, []) if subject not in new]
        if outdated:
            self.checkpoints.clear()
        for subject in outdated:
            chosen = {name: subject[name] for name in ("level", "setting")}
            self.ledger.forget_all(phase=first.phase, **chosen, data=first.data)
            if first.phase == Phase.COMPARE:
                for phase in (Phase.UNTOUCHED, Phase.SHIFT):
                    self.ledger.forget_all(phase=phase, **chosen)
            elif first.phase == Phase.TEST:  # which has no repeats
                self.ledger.forget_all(phase=Phase.UNTOUCHED, **chosen, repeat=None)
        self.folder.update(subjects={**subjects, first.phase: new})
        return bool(outdated)

    @property
    def _sizes(self) -> dict[str, int]:
        """Number of images of each data set."""
        return {data.source: len(data.labels) for data in self.images}

    def frame(self, table: str, phase: str) -> pd.DataFrame:
        """The rows of one phase in a table."""
        rows: pd.DataFrame = self.ledger.read(table, phase=phase).to_pandas()
        return rows

    def trials(self) -> list[dict[str, Any]]:
        """The trials that have ended, with their parameters under `params`."""
        rows = self.ledger.read("trials").to_pylist()
        return [{**row, "params": params_of(row)} for row in rows]


def params_of(row: dict[str, Any]) -> Params:
    """The parameters in a table's row; those of other branches of a conditional space are null there."""
    prefix = "params_"
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }


# The seed follows from the rest.
_IDENTITY = ["phase", "number", "level", "setting", "way", "data", "repeat", "fold"]


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _IDENTITY)


def _key_elsewhere(key: Key, where: Elsewhere) -> Key:
    """Key of a trained network's rows on another data set, as it is."""
    return replace(key, phase=Phase(where.phase), way="untouched", data=where.data)


def _training(key: Key, job: Job, data: ImageSet, sizes: Mapping[str, int]) -> Training:
    """A training of a phase after the search, for the recorder.

    Args:
        sizes: images of each data set.
    """
    task, configuration = job.task, job.task.configuration
    cost_of = frozen_cost if task.way == "frozen" else training_cost
    cost = cost_of(configuration, len(data.classes), len(task.train), len(task.val))
    passes = sum((UNTOUCHED_PASSES if where.adapt else 1) * sizes[where.data] for where in task.elsewhere)
    cost += scoring_cost(configuration, len(data.classes), passes)
    return Training(
        key=key,
        title=title_of(key),
        params=configuration.fields(),
        n_train=len(task.train),
        epochs=configuration.training.epochs,
        validation=(task.val,),
        cost=cost,
    )
