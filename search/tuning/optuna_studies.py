"""Optuna's side of a search: one Optuna study per level, kept in agreement with the study's own tables."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from search.common.seeds import derive_seed
from search.tuning.rules import RecordedTrial, Rules, State
from search.tuning.samplers import make_sampler

MAX_STARTUP_TRIALS = 10


@dataclass(frozen=True)
class Asked:
    """A trial as Optuna gave it out; `resumed` if an earlier run of the study did."""

    number: int
    level: str
    optuna_trial: optuna.Trial
    resumed: bool = False


class OptunaStudies:
    """Asks Optuna for trials and tells it how they ended.

    Args:
        storage: its unfinished trials are continued.
        recorded: ended trials of earlier runs, by number. Those that Optuna lacks, or holds as running, are told.

    Attributes:
        asked: trials given out so far, by level.
        unfinished: trials given out by an earlier run that have not ended, by number.
    """

    def __init__(
        self, rules: Rules, storage: optuna.storages.BaseStorage, recorded: Mapping[int, RecordedTrial]
    ) -> None:
        self._rules, self._levels = rules, rules.space.levels
        self._one_objective = len(rules.directions) == 1
        self.asked: dict[str, int] = {}
        self.unfinished: list[Asked] = []
        self._waiting: dict[str, list[int]] = {}
        self._studies: dict[str, optuna.Study] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for level in self._levels:
            self._studies[level] = optuna.create_study(
                storage=storage,
                study_name=f"level {level}",
                directions=list(rules.directions),
                load_if_exists=True,
            )
            of_level = {n // len(self._levels): trial for n, trial in recorded.items() if rules.level(n) == level}
            self._add_missing(level, of_level)
            self._continue(level, of_level)
        self.unfinished.sort(key=lambda asked: asked.number)

    def ask(self, level: str) -> Asked:
        """Give out a level's next trial."""
        index = self._waiting[level].pop(0) if self._waiting[level] else self.asked[level]
        study = self._studies[level]
        study.sampler = self._sampler(level, index)
        self.asked[level] += 1
        return Asked(self._number(level, index), level, study.ask())

    def ask_again(self, asked: Asked) -> None:
        """Prepare to configure a trial that was given out before."""
        self._studies[asked.level].sampler = self._sampler(asked.level, asked.optuna_trial.number)

    def report(self, asked: Asked, value: float, step: int) -> None:
        """Report an intermediate value, once; Optuna takes none where there are several objectives."""
        if self._one_objective:
            frozen = self._studies[asked.level].get_trials(deepcopy=False)[asked.optuna_trial.number]
            if step not in frozen.intermediate_values:
                asked.optuna_trial.report(value, step=step)

    def tell(self, asked: Asked, state: State, objectives: tuple[float, ...], error: str | None) -> None:
        """Tell Optuna how a trial ended."""
        if error is not None:
            asked.optuna_trial.set_user_attr("error", error)
        # The value of a pruned trial is the last that was reported.
        values = list(objectives) if state == State.COMPLETE else None
        self._studies[asked.level].tell(asked.optuna_trial.number, values, state=TrialState[state])

    def _number(self, level: str, index: int) -> int:
        """Number, over all levels, of a level's index-th trial."""
        return index * len(self._levels) + self._levels.index(level)

    def _sampler(self, level: str, index: int) -> optuna.samplers.BaseSampler:
        """The sampler of one trial."""
        startup = min(MAX_STARTUP_TRIALS, max(2, self._rules.n_per_level // 2))
        # All levels start with the same random draws: only so can settings be compared over levels.
        if self._rules.sampler == "random" or index < startup:
            # nsga2 breeds only from trials that it drew itself; it draws its first generation as "random" does.
            name = "nsga2" if self._rules.sampler == "nsga2" else "random"
            return make_sampler(name, seed=derive_seed(self._rules.seed, "start", index), n_startup=startup)
        seed = derive_seed(self._rules.seed, "trial", self._number(level, index))
        return make_sampler(self._rules.sampler, seed=seed, n_startup=startup)

    def _add_missing(self, level: str, recorded: Mapping[int, RecordedTrial]) -> None:
        """Add recorded trials that Optuna lacks, and enqueue the space's first points."""
        study = self._studies[level]
        firsts = self._rules.space.first_points(level, self._rules.profile)[: self._rules.n_per_level]
        n_here = len(study.get_trials(deepcopy=False))
        for index in range(n_here, max(len(firsts), 1 + max(recorded, default=-1))):
            if index in recorded:
                study.add_trial(self._frozen(level, recorded[index]))
            else:
                study.enqueue_trial(firsts[index] if index < len(firsts) else {})

    def _continue(self, level: str, recorded: Mapping[int, RecordedTrial]) -> None:
        """Sort a level's trials into waiting, unfinished and ended."""
        study = self._studies[level]
        trials = study.get_trials(deepcopy=False)
        self._waiting[level] = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        self.asked[level] = len(trials) - len(self._waiting[level])
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            number = self._number(level, trial.number)
            asked = Asked(number, level, optuna.Trial(study, trial._trial_id), resumed=True)
            if trial.number in recorded:  # a kill came between the study's own record and Optuna's
                ended = recorded[trial.number]
                self.tell(asked, ended.state, ended.objectives, ended.error)
            else:
                self.unfinished.append(asked)

    def _frozen(self, level: str, recorded: RecordedTrial) -> optuna.trial.FrozenTrial:
        """A recorded trial as Optuna stores it."""
        fixed = optuna.trial.FixedTrial(recorded.params)
        state, user_attrs = TrialState[recorded.state], {"error": recorded.error} if recorded.error else {}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="The value .* is out of the range", category=UserWarning)
            try:
                self._rules.space.configure(fixed, level, self._rules.profile)
            except Exception:  # it failed for this very reason, or the space has changed since
                state = TrialState.FAIL
        reported = [value for fold in recorded.values for value in fold] if self._one_objective else []
        values = {TrialState.COMPLETE: list(recorded.objectives), TrialState.PRUNED: reported[-1:] or None}
        return optuna.trial.create_trial(
            state=state,
            params=fixed.params,
            distributions=fixed.distributions,
            values=values.get(state),
            intermediate_values=dict(enumerate(reported, start=1)),
            user_attrs=user_attrs,
        )
