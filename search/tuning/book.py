"""The book of a search: which trials there are, what they are told to do, and how each ended.

Each level is searched for itself, and trial numbers go round the levels. The book knows nothing of Ray, and a
trial's state is settled in one place.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import optuna

from search.common.metrics import Metrics
from search.space import Configuration, Params
from search.training.types import Step
from search.tuning.racing import Progress, should_stop
from search.tuning.studies import Asked, KnownTrial, LevelStudies, Rules, State

FIRST_FAILURES = 3


@dataclass
class OpenTrial:
    """A trial that is running; `again` if its worker was lost once, `title` for a person."""

    number: int
    level: str
    title: str
    params: Params
    configuration: Configuration
    asked: Asked
    progress: Progress
    epochs: int
    folds_done: int
    train_s: float
    again: bool
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    pooled: Metrics | None = None
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """How a trial ended; `value` is None for a FAIL, `error` for all others."""

    trial: OpenTrial
    state: State
    value: float | None
    error: str | None
    completed: datetime


class TrialBook:
    """Gives out trials, follows them, and settles how they end.

    Args:
        storage: Optuna's. What it holds already is continued: unfinished trials are given out again first, under
            their numbers.
        known: by number, the trials of earlier runs that are on the study's record.
        on_end: called once for every trial that ends.
        on_reject: called with number, level, parameters and reason for a trial whose parameters make no network.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        storage: optuna.storages.BaseStorage,
        known: Mapping[int, KnownTrial],
        on_end: Callable[[EndedTrial], None],
        on_reject: Callable[[int, str, Params, str], None],
    ) -> None:
        self._rules, self._on_end, self._on_reject = rules, on_end, on_reject
        self._levels = rules.space.levels
        self._per_level = rules.n_trials // len(self._levels)
        self._studies = LevelStudies(rules, storage, known)
        self._unfinished = self._studies.unfinished
        self._known = dict(known)
        self.open: dict[int, OpenTrial] = {}
        self._failures: list[str] = []
        self._lost: set[int] = set()
        self._progress: dict[str, dict[int, Progress]] = {level: {} for level in self._levels}
        for number, trial in known.items():
            if trial.state in ("COMPLETE", "PRUNED"):
                progress = Progress(trial.values, complete=trial.state == "COMPLETE")
                self._progress[self._levels[number % len(self._levels)]][number] = progress

    @property
    def failure(self) -> str | None:
        """Why the search cannot go on: the first several trials all failed. None as long as it can."""
        several = min(FIRST_FAILURES, self._per_level * len(self._levels))
        hopeless = len(self._failures) >= several and not any(map(self._is_complete, self._levels))
        return self._failures[0] if hopeless else None

    @property
    def wants_room(self) -> bool:
        """A trial that lost its worker is running again, or is the next to: it may have been short of memory."""
        lost_is_next = bool(self._unfinished) and self._unfinished[0].number in self._lost
        return lost_is_next or any(trial.again for trial in self.open.values())

    def ask(self) -> OpenTrial | None:
        """Give out the next trial; None when there are no more to give."""
        while self.failure is None:
            asked = self._next()
            if asked is None:
                return None
            try:
                space, profile = self._rules.space, self._rules.profile
                configuration = space.configure(asked.optuna_trial, asked.level, profile)
            except Exception as error:  # of the user's space: it ends this trial alone
                self._reject(asked, f"{type(error).__name__}: {error}")
            else:
                return self._open(asked, configuration)
        return None

    def step(self, number: int, step: Step) -> bool:
        """Follow one epoch of a trial; True if it must stop here."""
        trial = self.open[number]
        assert step.epoch.validation is not None  # search folds validate
        value = float(getattr(step.epoch.validation, self._rules.metric))
        trial.epochs += 1
        trial.folds_done += step.score is not None
        trial.progress.add(step.fold, value)
        trial.train_s += step.epoch.training.train_s
        trial.pooled = step.pooled
        self._studies.report(trial.asked, value, trial.epochs)
        trial.stopped = step.pooled is None and self._must_stop(trial)
        return trial.stopped

    def end(self, number: int, error: str | None = None) -> EndedTrial:
        """Settle a trial: FAIL with an error, COMPLETE after its last epoch, PRUNED if it was stopped."""
        trial = self.open.pop(number)
        value: float | None = None
        objectives: tuple[float, ...] = ()
        state: State
        if error is None and trial.pooled is not None:
            state, value = "COMPLETE", float(getattr(trial.pooled, self._rules.metric))
            objectives = self._rules.objectives(trial.configuration, trial.pooled)
            trial.progress.complete = True
        elif error is None and trial.stopped:
            state = "PRUNED"
            finals = [values[-1] for values in trial.progress.values]
            value = sum(finals) / len(finals)
        else:
            state, error = "FAIL", error or "its worker was lost"
            self._failures.append(f"trial {number}: {error}")
            del self._progress[trial.level][number]
        ended = EndedTrial(trial=trial, state=state, value=value, error=error, completed=datetime.now(UTC))
        self._on_end(ended)  # the study's own record first: Optuna's can be told again from it
        self._studies.tell(trial.asked, state, objectives, error)
        return ended

    def lose(self, number: int, error: str, known: Callable[[], KnownTrial], *, began: bool = True) -> None:
        """Have a trial whose worker was lost given out once more; the second time it ends as FAIL.

        Args:
            known: says what the trial goes on from.
            began: the worker was lost while it ran the trial; one that never came to that does not count.
        """
        if began and number in self._lost:
            self.end(number, f"{error}, twice")
            return
        trial = self.open.pop(number)
        del self._progress[trial.level][number]
        if began:
            self._lost.add(number)
        self._known[number] = known()
        self._unfinished.insert(0, trial.asked)

    def _is_complete(self, level: str) -> bool:
        return any(progress.complete for progress in self._progress[level].values())

    def _must_stop(self, trial: OpenTrial) -> bool:
        """Whether a trial is too far behind; a level's last chance is not measured by other levels."""
        level = trial.level
        to_come = self._studies.asked[level] < self._per_level and time.monotonic() <= self._rules.deadline
        beside = any(
            rival.level == level and not rival.stopped for rival in self.open.values() if rival is not trial
        )
        others: list[Progress] = []
        if self._is_complete(level) or to_come or beside:
            rest = [self._progress[other].values() for other in self._levels if other != level]
            others = [progress for progresses in rest for progress in progresses if progress.complete]
        rivals = [progress for number, progress in self._progress[level].items() if number != trial.number]
        n_epochs = trial.configuration.training.epochs
        return should_stop(self._rules.pruner, trial.progress, level=rivals, others=others, n_epochs=n_epochs)

    def _next(self) -> Asked | None:
        """The next trial on Optuna's side: an unfinished one, else a new one."""
        if self._unfinished:
            asked = self._unfinished.pop(0)
            self._studies.ask_again(asked)
            return asked
        level = self._next_level()
        return None if level is None else self._studies.ask(level)

    def _next_level(self) -> str | None:
        """The level with the fewest trials that still needs one."""
        late = time.monotonic() > self._rules.deadline
        busy = {trial.level for trial in self.open.values()}
        wanting = [
            level
            for level, count in self._studies.asked.items()
            if count < self._per_level and not (late and (self._is_complete(level) or level in busy))
        ]
        return min(wanting, key=lambda level: self._studies.asked[level], default=None)

    def _reject(self, asked: Asked, error: str) -> None:
        """End a trial whose parameters make no network."""
        self._failures.append(f"trial {asked.number}: {error}")
        self._on_reject(asked.number, asked.level, dict(asked.optuna_trial.params), error)
        self._studies.tell(asked, "FAIL", (), error)

    def _open(self, asked: Asked, configuration: Configuration) -> OpenTrial:
        params = dict(asked.optuna_trial.params)
        known = self._known.get(asked.number, KnownTrial(params=params))
        trial = OpenTrial(
            number=asked.number,
            level=asked.level,
            title=self._title(asked),
            params=params,
            configuration=configuration,
            asked=asked,
            progress=Progress([list(fold) for fold in known.values]),
            epochs=sum(map(len, known.values)),
            folds_done=sum(len(fold) == configuration.training.epochs for fold in known.values),
            train_s=known.train_s,
            again=asked.number in self._lost,
        )
        self.open[trial.number] = trial
        self._progress[trial.level][trial.number] = trial.progress
        return trial

    def _title(self, asked: Asked) -> str:
        factor = self._rules.space.factor
        return f"trial {asked.number}" + ("" if factor is None else f", {factor} {asked.level}")
