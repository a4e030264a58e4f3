"""The Optuna studies of a search, one per level, kept in step with the study's own record."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.trial import TrialState

from search.common.metrics import Metrics
from search.common.seeds import derive_seed
from search.records.arguments import Pruner
from search.space import Configuration, Params, Profile, Space
from search.tuning.samplers import make_sampler

State = Literal["COMPLETE", "PRUNED", "FAIL"]
Direction = Literal["maximize", "minimize"]
MAX_STARTUP_TRIALS = 10


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a search goes by.

    Attributes:
        n_trials: over all levels; a multiple of their number.
        metric: name of one of `search.common.metrics.Metrics`, to be maximised; trials are stopped by it.
        directions: maximize or minimize, for each objective; the first is the metric.
        objectives: of a finished configuration, from its pooled metrics.
        seed: of the study; what is suggested depends on it and the trial's number alone.
        deadline: time.monotonic() after which only levels without a complete trial get new ones.
    """

    space: Space
    profile: Profile
    n_trials: int
    metric: str
    seed: int
    sampler: str
    pruner: Pruner
    directions: tuple[Direction, ...]
    objectives: Callable[[Configuration, Metrics], tuple[float, ...]]
    deadline: float = math.inf


@dataclass(frozen=True, kw_only=True)
class KnownTrial:
    """What is on the study's record of a trial.

    Attributes:
        state: None for a trial that has not ended; what it showed so far is what it will go on from.
        objectives: of a COMPLETE trial.
        values: searched metric after each epoch of each fold.
        train_s: seconds trained.
    """

    params: Params
    state: State | None = None
    objectives: tuple[float, ...] = ()
    values: list[list[float]] = field(default_factory=list)
    train_s: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class Asked:
    """A trial as Optuna gave it out."""

    number: int
    level: str
    optuna_trial: optuna.Trial


class LevelStudies:
    """Asks and tells Optuna.

    Args:
        storage: what it holds already is continued.
        known: by number, the trials of earlier runs that are on the study's record. Optuna is told of those that
            it does not know or takes for running.

    Attributes:
        asked: trials given out so far, by level.
        unfinished: trials given out by an earlier run that did not end, by number.
    """

    def __init__(
        self, rules: Rules, storage: optuna.storages.BaseStorage, known: Mapping[int, KnownTrial]
    ) -> None:
        self._rules, self._levels = rules, rules.space.levels
        self._per_level = rules.n_trials // len(self._levels)
        self._several = len(rules.directions) > 1
        self.asked: dict[str, int] = {}
        self.unfinished: list[Asked] = []
        self._waiting: dict[str, list[int]] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._studies = {
            level: optuna.create_study(
                storage=storage,
                study_name=f"level {level}",
                directions=list(rules.directions),
                load_if_exists=True,
            )
            for level in self._levels
        }
        for level in self._levels:
            self._take_up(level, known)
        self.unfinished.sort(key=lambda asked: asked.number)

    def ask(self, level: str) -> Asked:
        """Give out a level's next trial."""
        index = self._waiting[level].pop(0) if self._waiting[level] else self.asked[level]
        study = self._studies[level]
        study.sampler = self._sampler(level, index)
        self.asked[level] += 1
        return Asked(self._number(level, index), level, study.ask())

    def ask_again(self, asked: Asked) -> None:
        """Get ready to give out a trial once more."""
        self._studies[asked.level].sampler = self._sampler(asked.level, asked.optuna_trial.number)

    def report(self, asked: Asked, value: float, step: int) -> None:
        """Tell an intermediate value, unless an earlier run did; Optuna takes none with several objectives."""
        if self._several:
            return
        frozen = self._studies[asked.level].get_trials(deepcopy=False)[asked.optuna_trial.number]
        if step not in frozen.intermediate_values:
            asked.optuna_trial.report(value, step=step)

    def tell(self, asked: Asked, state: State, objectives: tuple[float, ...], error: str | None) -> None:
        """Tell how a trial ended."""
        if error is not None:
            asked.optuna_trial.set_user_attr("error", error)
        self._tell(asked.level, asked.optuna_trial.number, state, objectives)

    def _tell(self, level: str, index: int, state: State, objectives: tuple[float, ...]) -> None:
        # Of a pruned trial Optuna takes the last value that was reported.
        values = list(objectives) if state == "COMPLETE" else None
        self._studies[level].tell(index, values, state=TrialState[state])

    def _number(self, level: str, index: int) -> int:
        """The number, over all levels, of the trial that is a level's index-th."""
        return index * len(self._levels) + self._levels.index(level)

    def _sampler(self, level: str, index: int) -> optuna.samplers.BaseSampler:
        """A sampler for one trial alone, so that one that is made again does not repeat another's stream."""
        startup = min(MAX_STARTUP_TRIALS, max(2, self._per_level // 2))
        # What is drawn at random is the same for all levels: only so can settings be compared over levels.
        if self._rules.sampler == "random" or index < startup:
            # nsga2 draws its first generation just as "random" does, and breeds from those that it drew alone.
            name = "nsga2" if self._rules.sampler == "nsga2" else "random"
            return make_sampler(name, seed=derive_seed(self._rules.seed, "start", index), n_startup=startup)
        seed = derive_seed(self._rules.seed, "trial", self._number(level, index))
        return make_sampler(self._rules.sampler, seed=seed, n_startup=startup)

    def _take_up(self, level: str, known: Mapping[int, KnownTrial]) -> None:
        """Bring a level's Optuna study and the record together, and put its first points in the queue."""
        study = self._studies[level]
        on_record = {
            number // len(self._levels): trial
            for number, trial in known.items()
            if self._levels[number % len(self._levels)] == level and trial.state is not None
        }
        firsts = self._rules.space.first_points(level, self._rules.profile)[: self._per_level]
        n_here = len(study.get_trials(deepcopy=False))
        for index in range(n_here, max(len(firsts), 1 + max(on_record, default=-1))):
            if index in on_record:
                study.add_trial(self._frozen(level, on_record[index]))
            else:
                study.enqueue_trial(firsts[index] if index < len(firsts) else {})
        self._waiting[level], self.asked[level] = [], 0
        for trial in study.get_trials(deepcopy=False):
            if trial.state == TrialState.WAITING:
                self._waiting[level].append(trial.number)
                continue
            self.asked[level] += 1
            if trial.state != TrialState.RUNNING:
                continue
            asked = Asked(self._number(level, trial.number), level, optuna.Trial(study, trial._trial_id))
            ended = on_record.get(trial.number)
            if ended is None or ended.state is None:
                self.unfinished.append(asked)
            else:
                self.tell(asked, ended.state, ended.objectives, ended.error)

    def _frozen(self, level: str, known: KnownTrial) -> optuna.trial.FrozenTrial:
        """A trial on record as Optuna keeps it."""
        assert known.state is not None  # it has ended
        fixed = optuna.trial.FixedTrial(known.params)
        state, user_attrs = TrialState[known.state], {"error": known.error} if known.error else {}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="The value .* is out of the range", category=UserWarning)
            try:
                self._rules.space.configure(fixed, level, self._rules.profile)
            except Exception:  # it failed for this very reason, or the space was another then
                state = TrialState.FAIL
        shown = [] if self._several else [value for fold in known.values for value in fold]
        # Of a pruned trial Optuna takes the last value that was reported.
        found = {TrialState.COMPLETE: list(known.objectives), TrialState.PRUNED: shown[-1:] or None}
        return optuna.trial.create_trial(
            state=state,
            params=fixed.params,
            distributions=fixed.distributions,
            values=found.get(state),
            intermediate_values=dict(enumerate(shown, start=1)),
            user_attrs=user_attrs,
        )
