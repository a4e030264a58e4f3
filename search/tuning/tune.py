"""The search on Ray Tune: adapters between Tune and the trials, and everything of Tune that is overridden."""

import gc
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.exceptions import ObjectLostError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.data.splits import Split
from search.training.types import Elsewhere, Images, Step
from search.tuning.cluster import Cluster
from search.tuning.failures import Failure, lost_worker
from search.tuning.rules import Then
from search.tuning.settings import OpenTrial
from search.tuning.trials import Trials
from search.tuning.worker import TrialTask, Worker

MAX_FALSE_STARTS = 10
# Tune keeps 5 to 9 MB for every hundred trials that it has run, until it ends. So it ends, and is started again.
TURNS_PER_RUN = 2000

# Read by Tune in this process while it runs.
_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new console output ignores verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers would change their working directory
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard files that nothing reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it swallows Ctrl-C, and runs on until all trials are saved
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # results need no metric: the trials decide
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's record of the experiment, which nothing reads
    # The searcher limits the trials. With Tune's own limit of one pending trial, a new process is often discarded
    # for that of another trial which has just ended; the next trial waits for a process again, and so on.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
}


class Record(Protocol):
    """Records what trials yield; called in the driver."""

    def begin(self, trial: OpenTrial) -> bytes | None:
        """A trial begins or resumes; returns the checkpoint that it resumes from."""
        ...

    def step(self, trial: OpenTrial, step: Step) -> Then:
        """Record an epoch, and say what the trial does next."""
        ...

    def tick(self) -> None:
        """Called a few times a second."""
        ...


def run_search(
    trials: Trials,
    record: Record,
    *,
    images: Any,
    splits: Mapping[str, Sequence[Split]],
    seed: int,
    cluster: Cluster,
    elsewhere: Sequence[tuple[Elsewhere, Any]] = (),
) -> None:
    """Run trials until there are no more.

    Args:
        images: reference to `Images` in Ray's object store; Tune hands its workers the images themselves.
        splits: search folds of each level.
        seed: of the study.
        elsewhere: laboratories that every trial is scored on, with references to their `Images`.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the trials report failures
    trainable = tune.with_resources(
        tune.with_parameters(
            TrialWorker,
            images=images,
            splits={level: tuple(own) for level, own in splits.items()},
            seed=seed,
            n_threads=cluster.cpus_per_trial,
            gpu_share=cluster.gpus_per_trial,
            timeout_s=cluster.timeout_s,
            study=cluster.study,
            elsewhere=tuple(elsewhere),
        ),
        {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
    )
    driver = _Driver(trials, record, cluster)
    while not driver.is_finished:
        _rerun_when_results_are_lost(driver, lambda: _fit(trainable, driver))
        if driver.error is not None:
            raise driver.error
        gc.collect()  # references to workers of the run that ended keep their slots


def _fit(trainable: Any, driver: "_Driver") -> None:
    # Tune cannot be told to write nothing.
    with tempfile.TemporaryDirectory(prefix="wbc-search-") as scratch:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_TrialSearcher(driver),
                scheduler=_TrialScheduler(driver),
                num_samples=-1,  # until the searcher has no more
                reuse_actors=True,  # else every trial starts a process, which imports torch for seconds
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                verbose=0,
                callbacks=[_Upkeep(driver)],
                failure_config=tune.FailureConfig(max_failures=0),  # the trials decide on retries
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


def _rerun_when_results_are_lost(driver: "_Driver", fit: Callable[[], None]) -> None:
    """Run Tune, and run it again when it fails because a result was lost with the machine that held it.

    Tune treats a lost worker as a failed trial, but not a lost result. The trials resume from their checkpoints.
    Two losses without an epoch between them have another cause.
    """
    while True:
        seen = driver.n_steps
        try:
            return fit()
        except RuntimeError as error:
            if not isinstance(error.__cause__, ObjectLostError) or driver.n_steps == seen:
                raise
        for number in sorted(driver.trials.open, reverse=True):  # the first is given out first again
            driver.trials.give_again(number)
        driver.begun.clear()
        gc.collect()  # references to workers of the run that ended keep their slots


@dataclass(frozen=True)
class Saved:
    """The checkpoint that a trial resumes from, if any.

    Tune formats a trial's configuration as text, which takes seconds for megabytes.
    """

    checkpoint: bytes | None = field(repr=False)


class TrialWorker(tune.Trainable):
    """The search's worker as Tune runs it: one trial after another, an epoch per step."""

    def setup(  # type: ignore[override]  # Tune adds what `with_parameters` was given
        self,
        config: dict[str, Any],
        images: Images,
        splits: Mapping[str, tuple[Split, ...]],
        seed: int,
        n_threads: int,
        gpu_share: float,
        timeout_s: float | None,
        study: str,
        elsewhere: tuple[tuple[Elsewhere, Any], ...],
    ) -> None:
        """Start the first trial of a new process."""
        self._elsewhere = tuple(where for where, _ in elsewhere)
        self._laboratories: list[Images] = ray.get([images for _, images in elsewhere])
        self._worker = Worker(n_threads, gpu_share, timeout_s, study)
        self._images, self._splits, self._seed = images, splits, seed
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        with suppress(OSError):
            Path(self.logdir).rmdir()  # Tune creates one for every trial, and nothing is written to it
        self._title = new_config["title"]
        task = TrialTask(
            configuration=new_config["configuration"],
            splits=self._splits[new_config["level"]],
            seed=self._seed,
            trace=new_config["trace"],
            elsewhere=self._elsewhere,
        )
        self._worker.begin(task, self._images, None, new_config["saved"].checkpoint, *self._laboratories)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; the call after the last epoch returns `done`.

        Tune does not show its scheduler a result that is done, so that one holds no epoch.
        """
        result = self._worker.step()
        if isinstance(result, Failure):
            return {"failure": result, "done": True}
        return {"done": True} if result is None else {"step": result, "done": False}

    def __repr__(self) -> str:
        """Shown in Ray's dashboard, which asks once, when the process starts, whichever trials follow."""
        return f"from {self._title}"


class _Driver:
    """What the adapters share.

    Tune treats an exception of an adapter, such as a full disk, as a failure of the trial, and continues; it is
    stored here and raised where Tune lets it through.
    """

    def __init__(self, trials: Trials, record: Record, cluster: Cluster) -> None:
        self.trials, self.record, self.cluster = trials, record, cluster
        self.error: Exception | None = None
        self.begun: set[str] = set()  # Tune's ids of trials that a worker has begun
        self.false_starts = 0
        self.n_steps = 0
        self.is_finished = False
        self.wants_trace = cluster.profile_trace

    @contextmanager
    def guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = self.error or error


class _DriverOnly:
    """Pickles as nothing: Tune pickles its parts into the record of the experiment, which nothing reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _TrialSearcher(_DriverOnly, Searcher):
    """Gives out trials, and settles them when they end."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver
        self._n_turns = 0
        self._running: dict[str, tuple[int, float]] = {}
        self._traced: int | None = None

    def suggest(self, trial_id: str) -> Any:
        driver, trials = self._driver, self._driver.trials
        # Tune asks before resources are free; a trial chosen early would be chosen with fewer results known.
        if len(trials.open) >= trials.slots(driver.cluster.slots):
            return None
        if self._n_turns >= TURNS_PER_RUN:
            return None if trials.open else Searcher.FINISHED
        trial = trials.ask()
        if trial is None:
            driver.is_finished = not trials.open
            return Searcher.FINISHED if driver.is_finished else None
        self._n_turns += 1
        self._running[trial_id] = trial.number, time.monotonic()
        if self._traced not in trials.open:  # it may have ended too soon to be traced
            self._traced = trial.number
        return {
            "number": trial.number,
            "title": trial.title,
            "level": trial.level,
            "configuration": trial.configuration,
            "saved": Saved(driver.record.begin(trial)),
            "trace": driver.wants_trace and trial.number == self._traced,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        pass  # Tune calls the scheduler first, which passes it on

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number, started = self._running.pop(trial_id)
        driver = self._driver
        failure = (result or {}).get("failure")
        if error:
            failure = lost_worker(time.monotonic() - started, driver.cluster.timeout_s)
        with driver.guarded():
            if failure is None:
                driver.trials.end(number)
            elif failure.retry and trial_id not in driver.begun and not self._is_hopeless():
                driver.trials.give_again(number)  # its worker never started, so this is not counted as a retry
            else:
                driver.trials.fail(number, failure)
        driver.begun.discard(trial_id)

    def _is_hopeless(self) -> bool:
        """Whether workers do not start at all. A few may not: Ray uses a lost node until it notices the loss."""
        self._driver.false_starts += 1
        return self._driver.false_starts > MAX_FALSE_STARTS

    def save(self, checkpoint_path: str) -> None:
        pass  # Optuna's journal and the study's tables are the record

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from the study's folder")


class _TrialScheduler(_DriverOnly, FIFOScheduler):
    """Has every epoch recorded, and stops a trial that is to stop, or to pause until it is given out again."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        step: Step | None = result.get("step")
        if step is None:
            return TrialScheduler.CONTINUE
        driver, number = self._driver, trial.config["number"]
        driver.n_steps += 1
        driver.wants_trace &= step.trace is None
        with driver.guarded():
            if driver.record.step(driver.trials.open[number], step) is not Then.CONTINUE:
                return TrialScheduler.STOP
        return TrialScheduler.CONTINUE


class _Upkeep(_DriverOnly, tune.Callback):
    """Keeps the record current, and frees what Tune holds of trials that have ended."""

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
        # Tune keeps every trial's last result, and a checkpoint is megabytes. The scheduler got a copy.
        result.pop("step", None)

    def on_trial_complete(self, trial: Any, **info: Any) -> None:  # type: ignore[override]
        with suppress(OSError):
            Path(trial.local_path).rmdir()  # nothing was written to it


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"
