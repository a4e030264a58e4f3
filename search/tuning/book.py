"""The book of a search: which trials there are, what they are told to do, and how each ended.

It asks and tells Optuna, one Optuna study per level in one journal file, so that each level is searched for
itself; trial numbers go round the levels. It knows nothing of Ray, and its state is settled in one place.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search.seeds import derive_seed
from search.space import Configuration, FixedSuggester, Params, Profile, Space, Suggester
from search.trial import TrialStep
from search.tuning.racing import Progress, should_stop

State = Literal["COMPLETE", "PRUNED", "FAIL"]
MAX_STARTUP_TRIALS = 10
FIRST_FAILURES = 3


@dataclass
class OpenTrial:
    """A trial that is running."""

    number: int
    level: str
    params: Params
    configuration: Configuration
    optuna_trial: optuna.Trial
    reported: frozenset[int] = frozenset()
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    progress: Progress = field(default_factory=Progress)
    last: TrialStep | None = None
    epochs: int = 0
    folds_done: int = 0
    train_s: float = 0.0
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
        journal: Optuna's journal file. An existing one is continued: its unfinished trials are given out again
            first, under their numbers.
        n_trials: over all levels; a multiple of their number.
        metric: name of one of `search.metrics.Metrics`, to be maximised.
        seed: of the study; what is suggested depends on it and the trial's number alone.
        racing: stop trials that fall behind.
        deadline: time.monotonic() after which only levels without a complete trial get new ones.
        on_end: called once for every trial that ends.
        on_reject: called with number, level, parameters and reason for a trial whose parameters make no network.
        ended: state and value by number, of trials that ended before and are on the study's record.
    """

    def __init__(
        self,
        *,
        journal: Path,
        space: Space,
        profile: Profile,
        n_trials: int,
        metric: str,
        seed: int,
        on_end: Callable[[EndedTrial], None],
        on_reject: Callable[[int, str, Params, str], None],
        ended: Mapping[int, tuple[State, float | None]],
        racing: bool = True,
        deadline: float = math.inf,
    ) -> None:
        self._space, self._profile = space, profile
        self._metric, self._seed, self._racing, self._deadline = metric, seed, racing, deadline
        self._per_level = n_trials // len(space.levels)
        self._on_end, self._on_reject = on_end, on_reject
        self.open: dict[int, OpenTrial] = {}
        self._finished: dict[str, list[Progress]] = {level: [] for level in space.levels}
        self._failures: list[str] = []
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
        self._studies = {
            level: optuna.create_study(
                storage=storage, study_name=f"level {level}", direction="maximize", load_if_exists=True
            )
            for level in space.levels
        }
        self._unfinished: list[tuple[str, int, int]] = []
        for level in space.levels:
            self._take_up(level, ended)

    @property
    def failure(self) -> str | None:
        """Why the search cannot go on: the first several trials all failed. None as long as it can."""
        several = min(FIRST_FAILURES, self._per_level * len(self._space.levels))
        hopeless = len(self._failures) >= several and not any(self._finished.values())
        return self._failures[0] if hopeless else None

    def ask(self) -> OpenTrial | None:
        """Give out the next trial; None when there are no more to give."""
        while self.failure is None:
            asked = self._ask_optuna()
            if asked is None:
                return None
            level, optuna_trial = asked
            try:
                configuration = self._configure(level, optuna_trial)
            except Exception as error:  # of the user's space: it ends this trial alone
                self._reject(level, optuna_trial, f"{type(error).__name__}: {error}")
            else:
                return self._open(level, optuna_trial, configuration)
        return None

    def step(self, number: int, step: TrialStep) -> bool:
        """Follow one epoch of a trial; True if it must stop here."""
        trial = self.open[number]
        assert step.epoch.validation is not None  # search folds validate
        value = getattr(step.epoch.validation, self._metric)
        trial.last = step
        trial.epochs += 1
        trial.folds_done += step.fold_score is not None
        trial.progress.add(step.fold, value)
        trial.train_s += step.epoch.training.train_s
        if trial.epochs not in trial.reported:  # a trial that is run again reports the same values again
            trial.optuna_trial.report(value, step=trial.epochs)
        n_epochs = trial.configuration.training.epochs
        rivals = self._finished[trial.level] if self._racing else []
        trial.stopped = step.pooled is None and should_stop(trial.progress, rivals, n_epochs)
        return trial.stopped

    def end(self, number: int, error: str | None = None) -> EndedTrial:
        """Settle a trial: FAIL with an error, COMPLETE after its last epoch, PRUNED if it was stopped."""
        trial = self.open.pop(number)
        value: float | None = None
        state: State
        if error is None and trial.last is not None and trial.last.pooled is not None:
            state, value = "COMPLETE", float(getattr(trial.last.pooled, self._metric))
            self._finished[trial.level].append(trial.progress)
        elif error is None and trial.stopped:
            state = "PRUNED"
            finals = [values[-1] for values in trial.progress.values]
            value = sum(finals) / len(finals)
        else:
            state, error = "FAIL", error or "its worker was lost"
            self._failures.append(f"trial {number}: {error}")
            trial.optuna_trial.set_user_attr("error", error)
        ended = EndedTrial(trial=trial, state=state, value=value, error=error, completed=datetime.now(UTC))
        self._on_end(ended)  # the study's own record first: Optuna's can be told again from it
        self._tell(trial.level, trial.optuna_trial.number, state, value)
        return ended

    def number(self, level: str, index: int) -> int:
        """The number, over all levels, of the trial that is a level's index-th."""
        return index * len(self._space.levels) + self._space.levels.index(level)

    def _take_up(self, level: str, ended: Mapping[int, tuple[State, float | None]]) -> None:
        """Start a level's Optuna study with its first points, or go on with what its journal holds."""
        study = self._studies[level]
        n_known = len(study.get_trials(deepcopy=False))
        for params in self._space.first_points(level, self._profile)[n_known : self._per_level]:
            study.enqueue_trial(params)
        for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            number = self.number(level, trial.number)
            if number in ended:
                self._tell(level, trial.number, *ended[number])
            else:
                self._unfinished.append((level, trial.number, trial._trial_id))
        for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            n_epochs = self._configure(level, FixedSuggester(trial.params)).training.epochs
            values = [value for _, value in sorted(trial.intermediate_values.items())]
            folds = [values[start : start + n_epochs] for start in range(0, len(values), n_epochs)]
            self._finished[level].append(Progress(folds))

    def _tell(self, level: str, index: int, state: State, value: float | None) -> None:
        value = value if state == "COMPLETE" else None  # of a pruned trial Optuna takes the last report
        self._studies[level].tell(index, value, state=TrialState[state])

    def _next_level(self) -> str | None:
        """The level with the fewest trials that still needs one."""
        late = time.monotonic() > self._deadline
        counts = {level: _n_asked(study) for level, study in self._studies.items()}
        busy = {trial.level for trial in self.open.values()}
        wanting = [
            level
            for level, count in counts.items()
            if count < self._per_level and not (late and (self._finished[level] or level in busy))
        ]
        return min(wanting, key=lambda level: counts[level], default=None)

    def _sampler(self, level: str, index: int) -> optuna.samplers.BaseSampler:
        """A sampler for one trial alone, so that one that is made again does not repeat another's stream."""
        startup = min(MAX_STARTUP_TRIALS, max(2, self._per_level // 2))
        # The random start is the same for all levels: only so can settings be compared over levels.
        stream = ("start", index) if index < startup else ("trial", self.number(level, index))
        return optuna.samplers.TPESampler(seed=derive_seed(self._seed, *stream), n_startup_trials=startup)

    def _configure(self, level: str, suggester: Suggester) -> Configuration:
        return self._space.configure(suggester, level, self._profile)

    def _ask_optuna(self) -> tuple[str, optuna.Trial] | None:
        """The level and Optuna's side of the next trial: an unfinished one, else a new one."""
        if self._unfinished:
            level, index, optuna_id = self._unfinished.pop(0)
            study = self._studies[level]
            study.sampler = self._sampler(level, index)
            return level, optuna.Trial(study, optuna_id)
        next_level = self._next_level()
        if next_level is None:
            return None
        study = self._studies[next_level]
        study.sampler = self._sampler(next_level, _n_asked(study))
        return next_level, study.ask()

    def _reject(self, level: str, optuna_trial: optuna.Trial, error: str) -> None:
        """End a trial whose parameters make no network."""
        number = self.number(level, optuna_trial.number)
        self._failures.append(f"trial {number}: {error}")
        optuna_trial.set_user_attr("error", error)
        self._on_reject(number, level, dict(optuna_trial.params), error)
        self._tell(level, optuna_trial.number, "FAIL", None)

    def _open(self, level: str, optuna_trial: optuna.Trial, configuration: Configuration) -> OpenTrial:
        number = self.number(level, optuna_trial.number)
        reported = self._studies[level].get_trials(deepcopy=False)[optuna_trial.number].intermediate_values
        trial = OpenTrial(
            number=number,
            level=level,
            params=dict(optuna_trial.params),
            configuration=configuration,
            optuna_trial=optuna_trial,
            reported=frozenset(reported),
        )
        self.open[number] = trial
        return trial


def _n_asked(study: optuna.Study) -> int:
    """Trials that were given out; those enqueued and still waiting do not count."""
    return sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
