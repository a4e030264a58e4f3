"""The search on Ray Tune: thin adapters between Tune and the book of trials."""

import gc
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.exceptions import ObjectLostError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.data.splits import Split
from search.training.types import Step
from search.tuning.actor import Saved, TrialActor
from search.tuning.book import TrialBook
from search.tuning.cluster import Cluster
from search.tuning.studies import KnownTrial

MAX_FALSE_STARTS = 10


class Record(Protocol):
    """Where a search keeps what its trials show; called in the driver."""

    def step(self, number: int, step: Step) -> None:
        """Take down an epoch of a trial, before it is decided whether the trial goes on."""
        ...

    def keep(self, number: int, checkpoint: bytes) -> None:
        """Keep the state of a trial that goes on, in place of the one before."""
        ...

    def checkpoint(self, number: int) -> bytes | None:
        """The state kept of a trial."""
        ...

    def take_back(self, number: int) -> KnownTrial:
        """Take back what lies beyond the state kept of a trial, and say what is left."""
        ...

    def tick(self) -> None:
        """Called a few times a second."""
        ...


def run_search(
    book: TrialBook,
    record: Record,
    *,
    images: Any,
    splits: Sequence[Split],
    seed: int,
    cluster: Cluster,
) -> None:
    """Run the book's trials until it has no more to give.

    Args:
        images: reference to `Images` in Ray's object store; Tune hands its workers the images themselves.
        splits: search folds, the same for every trial.
        seed: of the study.
    """
    trainable = tune.with_parameters(
        TrialActor,
        images=images,
        splits=tuple(splits),
        seed=seed,
        n_threads=cluster.cpus_per_trial,
        gpu_share=cluster.gpus_per_trial,
        timeout_s=cluster.timeout_s,
        study=cluster.study,
    )
    driver = _Driver(book, record, cluster)
    resources = {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the book
    # With one trial pending at a time, its process is often thrown away as it stands ready, for that of another
    # trial which has just ended; the next trial then waits for a process again, and so on.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(cluster.slots)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own code, about its own deprecations
        _through_losses(driver, lambda: _fit(tune.with_resources(trainable, resources), driver))
    if driver.error is not None:
        raise driver.error


def _fit(trainable: Any, driver: "_Driver") -> None:
    # Tune keeps a record of its own, which nothing here reads: the book's journal is the record.
    with tempfile.TemporaryDirectory(prefix="wbc-search-") as scratch:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_BookSearcher(driver),
                scheduler=_BookScheduler(driver),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                verbose=0,
                callbacks=[_Upkeep(driver)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


def _through_losses(driver: "_Driver", fit: Callable[[], None]) -> None:
    """Run Tune, and once more whenever it gives up over a result that is gone with the machine it lay on.

    It takes a worker that is lost for a trial's failure, but not a worker's last words. What is kept of the trials
    goes on; without a single epoch between two losses there is more amiss.
    """
    while True:
        seen = driver.n_steps
        try:
            return fit()
        except RuntimeError as error:
            if not isinstance(error.__cause__, ObjectLostError) or driver.n_steps == seen:
                raise
        driver.take_all_back()
        gc.collect()  # what refers to workers of the run that ended keeps their slots


class _DriverOnly:
    """Stays in this process: Tune pickles itself into a record of its own, which nothing here reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Driver:
    """What the adapters share.

    Tune takes an error of theirs, such as a full disk, for one of the trial, and goes on; it is kept here and
    raised where Tune lets it through.
    """

    def __init__(self, book: TrialBook, record: Record, cluster: Cluster) -> None:
        self.book, self.record, self.cluster = book, record, cluster
        self.error: Exception | None = None
        self.begun: set[str] = set()  # Tune's names of trials that a worker has begun
        self.false_starts = 0
        self.n_steps = 0
        self.wants_trace = cluster.profile_trace

    @contextmanager
    def guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def take_all_back(self) -> None:
        """Have the book give out again all trials that are open."""
        for number in sorted(self.book.open, reverse=True):  # the first is given out first again
            self.book.lose(number, "", partial(self.record.take_back, number), began=False)
        self.begun.clear()


class _BookSearcher(_DriverOnly, Searcher):
    """Asks the book for trials, and tells it when they end."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver
        self._running: dict[str, tuple[int, float]] = {}
        self._traced: int | None = None

    def suggest(self, trial_id: str) -> Any:
        book, cluster = self._driver.book, self._driver.cluster
        # Tune asks ahead of free resources; a trial asked for early would be chosen knowing less.
        if len(book.open) >= cluster.slots_for(wants_room=book.wants_room):
            return None
        trial = book.ask()
        if trial is None:
            return None if book.open else Searcher.FINISHED
        self._running[trial_id] = trial.number, time.monotonic()
        if self._traced not in book.open:  # it may have ended too soon to be traced
            self._traced = trial.number
        return {
            "number": trial.number,
            "title": trial.title,
            "configuration": trial.configuration,
            "saved": Saved(self._driver.record.checkpoint(trial.number)),
            "trace": self._driver.wants_trace and trial.number == self._traced,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        pass  # the scheduler hears of it first, and tells the book

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number, started = self._running.pop(trial_id)
        cluster, record = self._driver.cluster, self._driver.record
        failure = cluster.loss(time.monotonic() - started) if error else (result or {}).get("failure")
        with self._driver.guarded():
            if failure is not None and failure.again:
                began = trial_id in self._driver.begun or self._is_hopeless()
                self._driver.book.lose(number, failure.reason, lambda: record.take_back(number), began=began)
            else:
                self._driver.book.end(number, None if failure is None else failure.reason)
        self._driver.begun.discard(trial_id)

    def _is_hopeless(self) -> bool:
        """Whether workers will not start. A few may not: Ray gives out a lost node until it knows of it."""
        self._driver.false_starts += 1
        return self._driver.false_starts > MAX_FALSE_STARTS

    def save(self, checkpoint_path: str) -> None:
        pass  # the book is its own record

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from the book's journal")


class _BookScheduler(_DriverOnly, FIFOScheduler):
    """Lets the book decide after every epoch."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, step = trial.config["number"], result.get("step")
        if step is None:
            return TrialScheduler.CONTINUE
        self._driver.n_steps += 1
        self._driver.wants_trace &= step.trace is None
        book, record = self._driver.book, self._driver.record
        with self._driver.guarded():
            record.step(number, step)
            if book.step(number, step):
                return TrialScheduler.STOP
            if step.checkpoint is not None:
                record.keep(number, step.checkpoint)
        return TrialScheduler.CONTINUE


class _Upkeep(_DriverOnly, tune.Callback):
    """Has the record kept current, and Tune not hold on to what has ended."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._driver.error is not None:
            raise self._driver.error
        self._driver.record.tick()

    def on_trial_start(self, trial: Any, **info: Any) -> None:  # type: ignore[override]
        self._driver.begun.add(trial.trial_id)
        self._driver.false_starts = 0

    def on_trial_result(self, result: dict[str, Any], **info: Any) -> None:  # type: ignore[override]
        # Tune keeps every trial's last result, and a checkpoint is megabytes; the scheduler is shown a copy.
        result.pop("step", None)

    def on_trial_complete(self, trial: Any, **info: Any) -> None:  # type: ignore[override]
        with suppress(OSError):
            Path(trial.local_path).rmdir()  # nothing was written to it


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"
