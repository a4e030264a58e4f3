"""Optuna's side of a search: one Optuna study per group of levels, one Optuna trial per setting."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from search.common.seeds import derive_seed
from search.space import Params
from search.tuning.rules import RecordedTrial, Rules, State
from search.tuning.samplers import make_sampler
from search.tuning.suggesting import KnownSuggester

MAX_STARTUP_TRIALS = 10
Group = tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A setting as Optuna gave it out.

    Attributes:
        index: number within the group.
    """

    index: int
    group: Group
    optuna_trial: optuna.Trial


class OptunaStudies:
    """Asks Optuna for settings and tells it how they ended.

    Args:
        storage: its unfinished trials are continued.
        recorded: ended trials of earlier runs, by number. Settings that Optuna lacks are added.

    Attributes:
        asked: settings given out so far, by group.
        unfinished: settings given out by an earlier run that Optuna holds as running.
    """

    def __init__(
        self, rules: Rules, storage: optuna.storages.BaseStorage, recorded: Mapping[int, RecordedTrial]
    ) -> None:
        self._rules = rules
        self._one_objective = len(rules.directions) == 1
        self.asked: dict[Group, int] = {}
        self.unfinished: list[Asked] = []
        self._waiting: dict[Group, list[int]] = {}
        self._studies: dict[Group, optuna.Study] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for group in rules.space.groups:
            self._studies[group] = optuna.create_study(
                storage=storage,
                study_name="settings" if rules.space.shares_settings else f"level {group[0]}",
                directions=list(rules.directions),
                load_if_exists=True,
            )
            settings: dict[int, dict[str, RecordedTrial]] = {}
            for number, trial in recorded.items():
                if rules.level(number) in group:
                    settings.setdefault(rules.setting(number), {})[rules.level(number)] = trial
            self._add_missing(group, settings)
            self._continue(group)

    def ask(self, group: Group) -> Asked:
        """Give out a group's next setting."""
        index = self._waiting[group].pop(0) if self._waiting[group] else self.asked[group]
        study = self._studies[group]
        study.sampler = self._sampler(group, index)
        self.asked[group] += 1
        return Asked(index, group, study.ask())

    def prepare(self, asked: Asked) -> None:
        """Prepare to configure a setting that was given out before, perhaps not with all its parameters."""
        self._studies[asked.group].sampler = self._sampler(asked.group, asked.index)

    def report(self, asked: Asked, value: float, step: int) -> None:
        """Report an intermediate value, once; Optuna takes none where there are several objectives."""
        if self._one_objective:
            frozen = self._studies[asked.group].get_trials(deepcopy=False)[asked.optuna_trial.number]
            if step not in frozen.intermediate_values:
                asked.optuna_trial.report(value, step=step)

    def tell(self, asked: Asked, state: State, objectives: Sequence[float] = (), error: str | None = None) -> None:
        """Tell Optuna how a setting ended."""
        if error is not None:
            asked.optuna_trial.set_user_attr("error", error)
        # The value of a pruned trial is the last that was reported.
        values = list(objectives) if state == State.COMPLETE else None
        self._studies[asked.group].tell(asked.optuna_trial.number, values, state=TrialState[state])

    def _sampler(self, group: Group, index: int) -> optuna.samplers.BaseSampler:
        """The sampler of one setting."""
        startup = min(MAX_STARTUP_TRIALS, max(2, self._rules.n_settings // 2))
        # All groups start with the same random draws.
        if self._rules.sampler == "random" or index < startup:
            # nsga2 breeds only from trials that it drew itself; it draws its first generation as "random" does.
            name = "nsga2" if self._rules.sampler == "nsga2" else "random"
            return make_sampler(name, seed=derive_seed(self._rules.seed, "start", index), n_startup=startup)
        seed = derive_seed(self._rules.seed, "trial", self._rules.number(index, group[0]))
        return make_sampler(self._rules.sampler, seed=seed, n_startup=startup)

    def _add_missing(self, group: Group, recorded: Mapping[int, Mapping[str, RecordedTrial]]) -> None:
        """Add recorded settings that Optuna lacks, and enqueue the space's first points.

        A setting that is not recorded at all its levels is given out again, with the parameters that are known.
        """
        study = self._studies[group]
        firsts = self._first_points(group)
        n_here = len(study.get_trials(deepcopy=False))
        for index in range(n_here, max(len(firsts), 1 + max(recorded, default=-1))):
            known = recorded.get(index, {})
            if len(known) == len(group):
                study.add_trial(self._frozen(group, known))
            elif known:
                study.enqueue_trial(self._shared(group, {level: trial.params for level, trial in known.items()}))
            else:
                study.enqueue_trial(firsts[index] if index < len(firsts) else {})

    def _continue(self, group: Group) -> None:
        """Sort a group's settings into waiting, unfinished and ended."""
        study = self._studies[group]
        trials = study.get_trials(deepcopy=False)
        self._waiting[group] = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        self.asked[group] = len(trials) - len(self._waiting[group])
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                self.unfinished.append(Asked(trial.number, group, optuna.Trial(study, trial._trial_id)))

    def _first_points(self, group: Group) -> list[Params]:
        """The i-th first points of all levels, as one setting each."""
        profile = self._rules.profile
        points = {level: self._rules.space.first_points(level, profile) for level in group}
        n = min(self._rules.n_settings, max(map(len, points.values())))
        return [
            self._shared(group, {level: own[i] for level, own in points.items() if i < len(own)}) for i in range(n)
        ]

    def _shared(self, group: Group, params: Mapping[str, Params]) -> Params:
        """Known parameters of levels under the names that the setting gives them."""
        return {name: value for name, (value, _) in self._known(group, params)[0].items()}

    def _known(
        self, group: Group, params: Mapping[str, Params]
    ) -> tuple[dict[str, tuple[object, BaseDistribution]], bool]:
        """name -> value and range of known parameters, and whether all levels accept theirs."""
        ranges: dict[str, BaseDistribution] = {}
        shared: dict[str, tuple[object, BaseDistribution]] = {}
        accepted = True
        for level in group:
            if level not in params:
                continue
            suggester = KnownSuggester(params[level], level, ranges)
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="The value .* is out of the range", category=UserWarning)
                try:
                    self._rules.space.configure(suggester, level, self._rules.profile)
                except Exception:  # it failed for this very reason, or the space has changed since
                    accepted = False
            shared |= suggester.shared
        return shared, accepted

    def _frozen(self, group: Group, recorded: Mapping[str, RecordedTrial]) -> optuna.trial.FrozenTrial:
        """A recorded setting as Optuna stores it."""
        shared, accepted = self._known(group, {level: trial.params for level, trial in recorded.items()})
        states = {trial.state for trial in recorded.values()}
        state = State.FAIL if not accepted or State.FAIL in states else max(states)  # PRUNED above COMPLETE
        error = next((trial.error for trial in recorded.values() if trial.error), None)
        reported = self._reported(group, recorded) if self._one_objective else []
        means = [
            sum(values) / len(recorded) for values in zip(*(t.objectives for t in recorded.values()), strict=False)
        ]
        values = {State.COMPLETE: means, State.PRUNED: reported[-1:] or None}
        return optuna.trial.create_trial(
            state=TrialState[state],
            params={name: value for name, (value, _) in shared.items()},
            distributions={name: distribution for name, (_, distribution) in shared.items()},
            values=values.get(state),
            intermediate_values=dict(enumerate(reported, start=1)),
            user_attrs={"error": error} if error else {},
        )

    def _reported(self, group: Group, recorded: Mapping[str, RecordedTrial]) -> list[float]:
        """What was reported of a setting: after each block, in order, the mean over those so far."""
        finals: list[float] = []
        for level, fold in self._rules.blocks(group):
            folds = recorded[level].values
            # A fold is finished if another follows it, or if its trial is.
            if fold >= len(folds) - (recorded[level].state != State.COMPLETE):
                break
            finals.append(folds[fold][-1])
        return [sum(finals[:n]) / n for n in range(1, len(finals) + 1)]
