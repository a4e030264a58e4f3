"""The search on Ray Tune: thin adapters between Tune and the book of trials."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.data.splits import Split
from search.trial import Images, TrialStep, run_trial
from search.tuning.book import TrialBook
from search.tuning.cluster import Cluster
from search.tuning.worker import prepare_worker, reason


def run_search(
    book: TrialBook,
    *,
    images: Any,
    splits: Sequence[Split],
    seed: int,
    cluster: Cluster,
    on_step: Callable[[int, TrialStep], None],
    tick: Callable[[], None],
) -> None:
    """Run the book's trials until it has no more to give.

    Args:
        images: reference to `Images` in Ray's object store; Tune hands its workers the images themselves.
        splits: search folds, the same for every trial.
        seed: of the study.
        on_step: called with a trial's number and step after every epoch, before the book decides on it.
        tick: called a few times a second.
    """
    trainable = tune.with_parameters(
        TrialActor,
        images=images,
        splits=tuple(splits),
        seed=seed,
        n_threads=cluster.cpus_per_trial,
        gpu=cluster.gpus_per_trial > 0,
    )
    errors: dict[str, str] = {}
    resources = {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the book
    # Tune keeps a record of its own, which nothing here reads: the book's journal is the record.
    with tempfile.TemporaryDirectory(prefix="wbc-search-") as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own code, about its own deprecations
        tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=_BookSearcher(book, cluster.slots, errors),
                scheduler=_BookScheduler(book, on_step, errors),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                verbose=0,
                callbacks=[_Tick(tick)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


class TrialActor(tune.Trainable):
    """A worker that runs one trial after another, an epoch a step."""

    def setup(  # type: ignore[override]  # Tune adds what `with_parameters` was given
        self,
        config: dict[str, Any],
        images: Images,
        splits: Sequence[Split],
        seed: int,
        n_threads: int,
        gpu: bool,
    ) -> None:
        """Start a trial in a new process."""
        self._device = prepare_worker(n_threads, gpu=gpu)
        self._images = images
        self._splits, self._seed = splits, seed
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process, which has torch imported and the images at hand."""
        self._steps = run_trial(new_config["configuration"], self._splits, self._images, self._seed, self._device)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and validate; the call after the last epoch says that it is done.

        Tune does not show its scheduler a result that is done, so such a one carries no epoch.
        """
        try:
            step = next(self._steps, None)
        except Exception as error:  # whatever it is, it ends this trial alone, and its reason goes on record
            return {"error": reason(error), "done": True}
        return {"done": True} if step is None else {"step": step, "done": False}


class _DriverOnly:
    """Stays in this process: Tune pickles itself into a record of its own, which nothing here reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _BookSearcher(_DriverOnly, Searcher):
    """Asks the book for trials, and tells it when they end."""

    def __init__(self, book: TrialBook, slots: int, errors: dict[str, str]) -> None:
        super().__init__()
        self._book, self._slots, self._errors = book, slots, errors
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        # Tune asks ahead of free resources; a trial asked for early would be chosen knowing less.
        if len(self._book.open) >= self._slots:
            return None
        trial = self._book.ask()
        if trial is None:
            return None if self._book.open else Searcher.FINISHED
        self._numbers[trial_id] = trial.number
        return {"number": trial.number, "configuration": trial.configuration}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        pass  # the scheduler hears of it first, and tells the book

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self._numbers.pop(trial_id)
        message = self._errors.pop(trial_id, "its worker died") if error else (result or {}).get("error")
        self._book.end(number, message)

    def save(self, checkpoint_path: str) -> None:
        pass  # the book is its own record

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from the book's journal")


class _BookScheduler(_DriverOnly, FIFOScheduler):
    """Lets the book decide after every epoch."""

    def __init__(self, book: TrialBook, on_step: Callable[[int, TrialStep], None], errors: dict[str, str]) -> None:
        super().__init__()
        self._book, self._on_step, self._errors = book, on_step, errors

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep why a worker died, of which the searcher is told only that it did."""
        trace = str(trial.get_error() or "").strip()
        if trace:
            self._errors[trial.trial_id] = f"its worker died: {trace.splitlines()[-1].strip()}"

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "step" not in result:
            return TrialScheduler.CONTINUE
        number = trial.config["number"]
        self._on_step(number, result["step"])
        return TrialScheduler.STOP if self._book.step(number, result["step"]) else TrialScheduler.CONTINUE


class _Tick(_DriverOnly, tune.Callback):
    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._tick()


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['number']:04d}"
