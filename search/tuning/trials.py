"""The trials of a search: which are given out, which are stopped early, and how each ends.

Each level is searched independently, and trial numbers go round the levels. A trial's state is settled here and
nowhere else. Nothing here depends on Ray.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import optuna

from search.common.metrics import Metrics
from search.space import Configuration, Params
from search.training.types import Step
from search.tuning.failures import Failure, Retries
from search.tuning.optuna_studies import Asked, OptunaStudies
from search.tuning.racing import Curve, should_stop
from search.tuning.rules import RecordedTrial, Rules, State

FIRST_FAILURES = 3


@dataclass
class OpenTrial:
    """A trial that is running."""

    number: int
    level: str
    title: str
    params: Params
    configuration: Configuration
    asked: Asked
    curve: Curve
    train_s: float
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    pooled: Metrics | None = None
    stopped: bool = False

    @property
    def epochs(self) -> int:
        """Epochs trained, over all folds."""
        return sum(map(len, self.curve.values))

    @property
    def folds_done(self) -> int:
        """Folds finished."""
        return sum(len(fold) == self.configuration.training.epochs for fold in self.curve.values)


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """How a trial ended; `value` is None for a FAIL, `error` for all others."""

    trial: OpenTrial
    state: State
    value: float | None
    error: str | None
    completed: datetime


class Trials:
    """Gives out trials, follows them, and settles how they end.

    Args:
        storage: Optuna's. Its unfinished trials are given out first, under their numbers.
        recorded: ended trials of earlier runs, by number.
        resume: called with the number of a trial that is given out again; returns the values after each epoch of
            each fold, and the seconds trained, that it resumes from.
        on_end: called once for every trial that ends, before Optuna is told: from the study's tables Optuna can be
            told again.
        on_reject: called with number, level, parameters and reason for a trial whose parameters make no network.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        storage: optuna.storages.BaseStorage,
        recorded: Mapping[int, RecordedTrial],
        resume: Callable[[int], tuple[list[list[float]], float]],
        on_end: Callable[[EndedTrial], None],
        on_reject: Callable[[int, str, Params, str], None],
    ) -> None:
        self._rules, self._resume, self._on_end, self._on_reject = rules, resume, on_end, on_reject
        self._levels = rules.space.levels
        self._optuna = OptunaStudies(rules, storage, recorded)
        self._again = self._optuna.unfinished
        self._retries = Retries()
        self._failures: list[str] = []
        self.open: dict[int, OpenTrial] = {}
        self._curves: dict[str, dict[int, Curve]] = {level: {} for level in self._levels}
        for number, trial in recorded.items():
            if trial.state != State.FAIL:
                curve = Curve(trial.values, complete=trial.state == State.COMPLETE)
                self._curves[rules.level(number)][number] = curve

    @property
    def failure(self) -> str | None:
        """Why the search cannot continue: the first several trials all failed. None as long as it can."""
        several = min(FIRST_FAILURES, self._rules.n_trials)
        hopeless = len(self._failures) >= several and not any(map(self._is_complete, self._levels))
        return self._failures[0] if hopeless else None

    def slots(self, slots: int) -> int:
        """How many of the slots may be used, given the trials that are being retried."""
        return self._retries.slots(slots, self.open, [asked.number for asked in self._again])

    def ask(self) -> OpenTrial | None:
        """Give out the next trial; None when there are no more."""
        while self.failure is None:
            asked = self._next()
            if asked is None:
                return None
            try:
                space, profile = self._rules.space, self._rules.profile
                configuration = space.configure(asked.optuna_trial, asked.level, profile)
            except Exception as error:  # of the user's space; it ends this trial alone
                self._reject(asked, f"{type(error).__name__}: {error}")
            else:
                return self._open(asked, configuration)
        return None

    def step(self, number: int, step: Step) -> bool:
        """Follow one epoch of a trial; True if it must stop here."""
        trial = self.open[number]
        assert step.epoch.validation is not None  # search folds validate
        value = float(getattr(step.epoch.validation, self._rules.metric))
        trial.curve.add(step.fold, value)
        trial.train_s += step.epoch.training.train_s
        trial.pooled = step.pooled
        self._optuna.report(trial.asked, value, trial.epochs)
        trial.stopped = step.pooled is None and self._must_stop(trial)
        return trial.stopped

    def end(self, number: int, error: str | None = None) -> None:
        """Settle a trial: FAIL with an error, COMPLETE after its last epoch, PRUNED if it was stopped."""
        trial = self.open.pop(number)
        value: float | None = None
        objectives: tuple[float, ...] = ()
        if error is None and trial.pooled is not None:
            state, value = State.COMPLETE, float(getattr(trial.pooled, self._rules.metric))
            objectives = self._rules.objectives(trial.configuration, trial.pooled)
            trial.curve.complete = True
        elif error is None and trial.stopped:
            state = State.PRUNED
            finals = [values[-1] for values in trial.curve.values]
            value = sum(finals) / len(finals)
        else:
            state, error = State.FAIL, error or "its worker was lost"
            self._failures.append(f"trial {number}: {error}")
            del self._curves[trial.level][number]
        completed = datetime.now(UTC)
        self._on_end(EndedTrial(trial=trial, state=state, value=value, error=error, completed=completed))
        self._optuna.tell(trial.asked, state, objectives, error)

    def fail(self, number: int, failure: Failure) -> None:
        """Retry a trial that failed, if that may help, else end it."""
        if self._retries.allow(number, failure):
            self.give_again(number)
        else:
            self.end(number, self._retries.reason(number, failure))

    def give_again(self, number: int) -> None:
        """Give an open trial out again, before all others."""
        trial = self.open.pop(number)
        del self._curves[trial.level][number]
        self._again.insert(0, Asked(number, trial.level, trial.asked.optuna_trial, resumed=True))

    def _is_complete(self, level: str) -> bool:
        return any(curve.complete for curve in self._curves[level].values())

    def _must_stop(self, trial: OpenTrial) -> bool:
        """Whether a trial is too far behind. The last chance of a level is not measured by other levels."""
        level = trial.level
        more_follow = (
            self._optuna.asked[level] < self._rules.n_per_level and time.monotonic() <= self._rules.deadline
        )
        more_run = any(
            rival.level == level and not rival.stopped for rival in self.open.values() if rival is not trial
        )
        others: list[Curve] = []
        if self._is_complete(level) or more_follow or more_run:
            rest = [self._curves[other].values() for other in self._levels if other != level]
            others = [curve for curves in rest for curve in curves if curve.complete]
        rivals = [curve for number, curve in self._curves[level].items() if number != trial.number]
        n_epochs = trial.configuration.training.epochs
        return should_stop(self._rules.pruner, trial.curve, level=rivals, others=others, n_epochs=n_epochs)

    def _next(self) -> Asked | None:
        """The next trial on Optuna's side: one that is given out again, else a new one."""
        if self._again:
            asked = self._again.pop(0)
            self._optuna.ask_again(asked)
            return asked
        level = self._next_level()
        return None if level is None else self._optuna.ask(level)

    def _next_level(self) -> str | None:
        """The level with the fewest trials that still needs one."""
        late = time.monotonic() > self._rules.deadline
        busy = {trial.level for trial in self.open.values()}
        wanting = [
            level
            for level, count in self._optuna.asked.items()
            if count < self._rules.n_per_level and not (late and (self._is_complete(level) or level in busy))
        ]
        return min(wanting, key=lambda level: self._optuna.asked[level], default=None)

    def _reject(self, asked: Asked, error: str) -> None:
        """End a trial whose parameters make no network."""
        self._failures.append(f"trial {asked.number}: {error}")
        self._on_reject(asked.number, asked.level, dict(asked.optuna_trial.params), error)
        self._optuna.tell(asked, State.FAIL, (), error)

    def _open(self, asked: Asked, configuration: Configuration) -> OpenTrial:
        values, train_s = self._resume(asked.number) if asked.resumed else ([], 0.0)
        trial = OpenTrial(
            number=asked.number,
            level=asked.level,
            title=self._rules.title(asked.number),
            params=dict(asked.optuna_trial.params),
            configuration=configuration,
            asked=asked,
            curve=Curve(values),
            train_s=train_s,
        )
        self.open[trial.number] = trial
        self._curves[trial.level][trial.number] = trial.curve
        return trial
