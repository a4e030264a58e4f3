"""Optuna's side of a search: one Optuna study per group of levels, one Optuna trial per setting.

The Optuna studies are kept in agreement with the study's own tables.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import BaseTrial, TrialState

from search.common.seeds import derive_seed
from search.space import Configuration, Params
from search.tuning.racing import curve_of
from search.tuning.rules import Group, RecordedTrial, Rules, State
from search.tuning.samplers import make_sampler

MAX_STARTUP_TRIALS = 10

Recorded = Mapping[str, RecordedTrial]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A setting as Optuna gave it out.

    Attributes:
        index: number of the setting within its group, and of the Optuna trial.
        recorded: trials of the setting that ended in earlier runs, by level.
        resumed: an earlier run gave it out.
        told: Optuna knows how it ended.
    """

    group: Group
    index: int
    optuna_trial: BaseTrial
    recorded: Recorded = field(default_factory=dict)
    resumed: bool = False
    told: bool = False


@dataclass(frozen=True, kw_only=True)
class Configured:
    """A setting at a level: its parameters, and the configuration or why there is none."""

    params: Params
    configuration: Configuration | None = None
    error: str | None = None


class OptunaStudies:
    """Asks Optuna for settings and tells it how they ended.

    Args:
        storage: its unfinished trials are continued.
        recorded: ended trials of earlier runs, by number. Settings that Optuna lacks, or holds as running, are
            told.

    Attributes:
        begun: settings that earlier runs gave out, by group, in order; those that have ended are among them.
    """

    def __init__(
        self, rules: Rules, storage: optuna.storages.BaseStorage, recorded: Mapping[int, RecordedTrial]
    ) -> None:
        self._rules = rules
        self._one_objective = len(rules.directions) == 1
        self._studies: dict[Group, optuna.Study] = {}
        self.begun: dict[Group, list[Asked]] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for group in rules.space.groups:
            self._studies[group] = optuna.create_study(
                storage=storage,
                study_name="settings" if rules.space.shares_settings else f"level {group[0]}",
                directions=list(rules.directions.values()),
                load_if_exists=True,
            )
            _name_metrics(self._studies[group], list(rules.directions))
            settings: dict[int, dict[str, RecordedTrial]] = {}
            for number, trial in recorded.items():
                if rules.level(number) in group:
                    settings.setdefault(rules.setting(number), {})[rules.level(number)] = trial
            self._add_missing(group, settings)
            self._continue(group, settings)

    def ask(self, group: Group, index: int) -> Asked:
        """Give out a group's next setting, the index-th."""
        study = self._studies[group]
        study.sampler = self._sampler(group, index)
        optuna_trial = study.ask()
        optuna_trial.set_user_attr("trials", self._numbers(group, index))
        return Asked(group=group, index=index, optuna_trial=optuna_trial)

    def configure(self, asked: Asked) -> dict[str, Configured]:
        """A setting at each level of its group; what it still lacks is drawn."""
        self._studies[asked.group].sampler = self._sampler(asked.group, asked.index)
        return self._configured(asked.group, asked.optuna_trial)

    def report(self, asked: Asked, value: float, step: int) -> None:
        """Report an intermediate value, once; Optuna takes none where there are several objectives."""
        if self._one_objective:
            frozen = self._studies[asked.group].get_trials(deepcopy=False)[asked.index]
            if step not in frozen.intermediate_values:
                asked.optuna_trial.report(value, step=step)

    def tell(self, asked: Asked, ended: Recorded) -> None:
        """Tell Optuna how a setting ended, from its trials by level."""
        state, error = _state_of(ended), _error_of(asked.group, ended)
        if error is not None:
            asked.optuna_trial.set_user_attr("error", error)
        # The value of a pruned trial is the last that was reported.
        values = _mean_objectives(ended) or None
        self._studies[asked.group].tell(asked.index, values, state=state)

    def _numbers(self, group: Group, index: int) -> dict[str, int]:
        """The numbers of a setting's trials by level, for readers of Optuna's journal."""
        return {level: self._rules.number(index, level) for level in group}

    def _sampler(self, group: Group, index: int) -> optuna.samplers.BaseSampler:
        """The sampler of one setting."""
        startup = min(MAX_STARTUP_TRIALS, max(2, self._rules.n_settings // 2))
        # Levels with settings of their own start with the same random draws too.
        if self._rules.sampler == "random" or index < startup:
            # nsga2 breeds only from trials that it drew itself; it draws its first generation as "random" does.
            name = "nsga2" if self._rules.sampler == "nsga2" else "random"
            return make_sampler(name, seed=derive_seed(self._rules.seed, "start", index), n_startup=startup)
        seed = derive_seed(self._rules.seed, "trial", self._rules.number(index, group[0]))
        return make_sampler(self._rules.sampler, seed=seed, n_startup=startup)

    def _configured(self, group: Group, optuna_trial: BaseTrial) -> dict[str, Configured]:
        names: dict[tuple[Any, ...], str] = {}
        found = {}
        for level in group:
            suggester = LevelSuggester(optuna_trial, level, names)
            try:
                configuration = self._rules.space.configure(suggester, level, self._rules.profile)
                found[level] = Configured(params=suggester.params, configuration=configuration)
            except Exception as error:  # of the user's space; it ends this trial alone
                found[level] = Configured(params=suggester.params, error=f"{type(error).__name__}: {error}")
        return found

    def _add_missing(self, group: Group, settings: Mapping[int, Recorded]) -> None:
        """Add recorded settings that Optuna lacks, and enqueue the space's first points."""
        study, rules = self._studies[group], self._rules
        points = {level: rules.space.first_points(level, rules.profile)[: rules.n_settings] for level in group}
        n_firsts = max(map(len, points.values()))
        n_here = len(study.get_trials(deepcopy=False))
        for index in range(n_here, max(n_firsts, 1 + max(settings, default=-1))):
            known = settings.get(index, {})
            if len(known) == len(group):
                study.add_trial(self._frozen(group, index, known))
                continue
            params = _params_of(group, known)
            for level, found in points.items():
                if index < len(found):
                    params.setdefault(level, found[index])
            study.enqueue_trial(_merged(params))

    def _continue(self, group: Group, settings: Mapping[int, Recorded]) -> None:
        """Collect the settings that were begun; those that Optuna has lost are asked for again."""
        study = self._studies[group]
        self.begun[group] = []
        for trial in study.get_trials(deepcopy=False):
            if trial.state == TrialState.WAITING:
                if trial.number > max(settings, default=-1):
                    break
                asked = self.ask(group, trial.number)
            elif trial.state.is_finished():
                asked = Asked(group=group, index=trial.number, optuna_trial=trial, told=True)
            else:
                unfinished = optuna.Trial(study, trial._trial_id)
                unfinished.set_user_attr("trials", self._numbers(group, trial.number))  # killed before it was
                asked = Asked(group=group, index=trial.number, optuna_trial=unfinished, resumed=True)
            self.begun[group].append(replace(asked, recorded=settings.get(trial.number, {})))

    def _frozen(self, group: Group, index: int, known: Recorded) -> optuna.trial.FrozenTrial:
        """A recorded setting as Optuna stores it."""
        fixed = optuna.trial.FixedTrial(_merged(_params_of(group, known)))
        state, error = _state_of(known), _error_of(group, known)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="The value .* is out of the range", category=UserWarning)
            if any(level.error for level in self._configured(group, fixed).values()):
                state = TrialState.FAIL  # it failed for this very reason, or the space has changed since
        finals = curve_of(self._rules.blocks(group), known).finals if self._one_objective else []
        reported = {n: fmean(finals[:n]) for n in range(1, len(finals) + 1)}
        values = {TrialState.COMPLETE: _mean_objectives(known), TrialState.PRUNED: list(reported.values())[-1:]}
        return optuna.trial.create_trial(
            state=state,
            params=fixed.params,
            distributions=fixed.distributions,
            values=values.get(state) or None,
            intermediate_values=reported,
            user_attrs={"trials": self._numbers(group, index)} | ({} if error is None else {"error": error}),
        )


class LevelSuggester:
    """Draws a setting's parameters at one level, all levels from one Optuna trial.

    What levels ask for under one name and range has one value at all of them. A level that asks for another range
    gets a value of its own, under a name that only Optuna sees.

    Args:
        names: (name, range) -> Optuna's name, of all levels so far.

    Attributes:
        params: what this level asked for.
    """

    def __init__(self, optuna_trial: BaseTrial, level: str, names: dict[tuple[Any, ...], str]) -> None:
        self._trial, self._level, self._names = optuna_trial, level, names
        self._asked: dict[str, str] = {}
        self.params: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high."""
        own = self._name(name, "float", low, high, step, log)
        return self._note(name, self._trial.suggest_float(own, low, high, step=step, log=log))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from low to high."""
        own = self._name(name, "int", low, high, step, log)
        return self._note(name, self._trial.suggest_int(own, low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        own = self._name(name, "categorical", *choices)
        return self._note(name, self._trial.suggest_categorical(own, choices))

    def _name(self, name: str, *kind: Any) -> str:
        """Optuna's name of a parameter. Asked again at the same level, it is the same whatever its range."""
        if name not in self._asked:
            is_first = all(known != name for known, *_ in self._names)
            default = name if is_first else _own_name(name, self._level)
            self._asked[name] = self._names.setdefault((name, *kind), default)
        return self._asked[name]

    def _note(self, name: str, value: Any) -> Any:
        self.params[name] = value
        return value


def _name_metrics(study: optuna.Study, names: list[str]) -> None:
    """Name a new study's values, as its objectives are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study.metric_names is None:
            study.set_metric_names(names)


def _own_name(name: str, level: str) -> str:
    return f"{name} [{level}]"


def _params_of(group: Group, known: Recorded) -> dict[str, Params]:
    return {level: known[level].params for level in group if level in known}


def _merged(params: Mapping[str, Params]) -> dict[str, Any]:
    """Parameters of levels as those of one Optuna trial; of a shared one, the first level's value."""
    merged: dict[str, Any] = {}
    for own in params.values():
        merged = dict(own) | merged
    for level, own in params.items() if len(params) > 1 else ():
        merged |= {_own_name(name, level): value for name, value in own.items()}  # in case its range differs there
    return merged


def _state_of(ended: Recorded) -> TrialState:
    """How a setting ended, from all of its trials."""
    states = {trial.state for trial in ended.values()}
    if State.FAIL in states:
        return TrialState.FAIL
    return TrialState.PRUNED if State.PRUNED in states else TrialState.COMPLETE


def _error_of(group: Group, ended: Recorded) -> str | None:
    """Why a setting failed."""
    for level in group:
        if ended[level].error is not None:
            return ended[level].error if len(group) == 1 else f"{level}: {ended[level].error}"
    return None


def _mean_objectives(ended: Recorded) -> list[float]:
    """The mean of each objective over the levels; empty unless all of them are complete."""
    if _state_of(ended) != TrialState.COMPLETE:
        return []
    return [fmean(values) for values in zip(*(trial.objectives for trial in ended.values()), strict=True)]
