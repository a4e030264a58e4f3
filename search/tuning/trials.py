"""The trials of a search: which are given out, which are stopped early, and how each ends.

A setting is tried at every level of its group, block by block; a block is one level's training on one fold. A
trial is one level's part of a setting. The states of trials and settings are settled here and nowhere else.
Nothing here depends on Ray.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto

import optuna
from optuna.distributions import BaseDistribution

from search.common.metrics import Metrics
from search.space import Configuration, Params
from search.training.types import Step
from search.tuning.failures import Failure, Retries
from search.tuning.optuna_studies import Asked, Group, OptunaStudies
from search.tuning.racing import Curve, should_drop
from search.tuning.rules import Block, RecordedTrial, Rules, State
from search.tuning.suggesting import LevelSuggester

FIRST_FAILURES = 3


class Then(Enum):
    """What a worker does after an epoch of a trial.

    PAUSE leaves the trial where it is, because another level of its setting is to be trained first.
    """

    CONTINUE = auto()
    PAUSE = auto()
    STOP = auto()


@dataclass
class OpenTrial:
    """A trial that has not ended.

    Attributes:
        values: searched metric after each epoch of each fold so far.
        begun: it was given out before, perhaps in an earlier run.
    """

    number: int
    level: str
    title: str
    params: Params
    configuration: Configuration
    begun: bool
    values: list[list[float]] = field(default_factory=list)
    train_s: float = 0.0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    pooled: Metrics | None = None
    then: Then = Then.CONTINUE

    @property
    def epochs(self) -> int:
        """Epochs trained, over all folds."""
        return sum(map(len, self.values))

    @property
    def folds_done(self) -> int:
        """Folds finished."""
        return sum(len(fold) == self.configuration.training.epochs for fold in self.values)


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """How a trial ended; `value` is None if it failed or never began, `error` if it did not fail."""

    trial: OpenTrial
    state: State
    value: float | None
    error: str | None
    completed: datetime


@dataclass
class Setting:
    """One draw of parameters, and its trial at every level of a group.

    Attributes:
        asked: Optuna's side; None once Optuna has been told how it ended.
        waiting: trials that are not running, by level.
        running: levels whose trials are.
        values: searched metric after each epoch of each fold, by level; of a failed trial, zeros.
        epochs: per fold, by level.
        states: of trials that have ended, by level.
        objectives: of complete trials, by level.
        seen: epochs of its curve after which it was decided whether to drop it.
        dropped_in: number of the block in which it was dropped; None if it was not.
    """

    index: int
    group: Group
    blocks: Sequence[Block]
    asked: Asked | None
    waiting: dict[str, OpenTrial] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    values: dict[str, list[list[float]]] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    objectives: dict[str, tuple[float, ...]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seen: int = 0
    dropped_in: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether all its trials have."""
        return len(self.states) == len(self.group)

    @property
    def is_whole(self) -> bool:
        """Whether all its trials are complete."""
        return self.has_ended and set(self.states.values()) == {State.COMPLETE}

    @property
    def is_judged(self) -> bool:
        """Whether it has ended, and it was decided after every epoch of its curve whether to drop it."""
        return self.has_ended and self.seen == self.curve.n_points

    @property
    def curve(self) -> Curve:
        """Its blocks in order, up to the first that is unfinished."""
        values: list[list[float]] = []
        for level, fold in self.blocks:
            folds = self.values.get(level, [])
            if fold >= len(folds):
                break
            values.append(folds[fold])
            if len(folds[fold]) < self.epochs[level]:
                break
        return Curve(values=values, epochs=tuple(self.epochs.get(level, 1) for level, _ in self.blocks))

    def next_block(self) -> OpenTrial | None:
        """The trial of the first block that waits."""
        for level, fold in self.blocks:
            trial = self.waiting.get(level)
            if trial is not None and trial.folds_done <= fold:
                return trial
        return None

    def comes_before(self, level: str, fold: int) -> bool:
        """Whether a block of another level waits that comes before this one."""
        earlier = self.blocks[: self.blocks.index((level, fold))]
        return any(other in self.waiting and self.waiting[other].folds_done <= n for other, n in earlier)


class Trials:
    """Gives out trials, follows them, and settles how they end.

    Args:
        storage: Optuna's. Its unfinished settings are given out first, under their numbers.
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
        self._optuna = OptunaStudies(rules, storage, recorded)
        self._retries = Retries()
        self._failures: list[str] = []
        self._again: list[int] = []
        self.open: dict[int, OpenTrial] = {}
        self.settings: dict[Group, dict[int, Setting]] = {group: {} for group in rules.space.groups}
        self._continue(recorded)

    @property
    def failure(self) -> str | None:
        """Why the search cannot continue: the first several trials all failed. None as long as it can."""
        several = min(FIRST_FAILURES, self._rules.n_trials)
        if len(self._failures) < several:
            return None
        complete = any(State.COMPLETE in setting.states.values() for setting in self._all_settings())
        return None if complete else self._failures[0]

    def slots(self, slots: int) -> int:
        """How many of the slots may be used, given the trials that are being retried."""
        return self._retries.slots(slots, self.open, self._again)

    def ask(self) -> OpenTrial | None:
        """Give out the next trial; None when there is none at present."""
        while self.failure is None:
            trial = self._next()
            if trial is not None:
                return self._open(trial)
            group = self._next_group()
            if group is None:
                return None
            self._begin(self._optuna.ask(group), {})
        return None

    def step(self, number: int, step: Step) -> Then:
        """Follow one epoch of a trial, and say what its worker does next."""
        trial, setting = self.open[number], self._setting(number)
        assert step.epoch.validation is not None  # search folds validate
        if step.fold == len(trial.values):
            trial.values.append([])
        trial.values[step.fold].append(float(getattr(step.epoch.validation, self._rules.metric)))
        trial.train_s += step.epoch.training.train_s
        trial.pooled = step.pooled
        self._race(setting.group)
        if step.pooled is not None:
            return Then.CONTINUE
        if setting.dropped_in is not None:
            trial.then = Then.STOP
        elif step.score is not None and (
            setting.comes_before(trial.level, step.fold + 1) or not self._may_begin(setting, trial)
        ):
            trial.then = Then.PAUSE
        return trial.then

    def end(self, number: int, error: str | None = None) -> None:
        """Settle a trial: FAIL with an error, COMPLETE after its last epoch, PRUNED if it was stopped."""
        trial = self.open[number]
        if error is None and trial.pooled is not None:
            self._settle(trial, State.COMPLETE, float(getattr(trial.pooled, self._rules.metric)))
        elif error is None and trial.then == Then.STOP:
            self._settle(trial, State.PRUNED, _last_value(trial))
        elif error is None and trial.then == Then.PAUSE:
            self._put_back(number)
        else:
            error = error or "its worker was lost"
            self._failures.append(f"trial {number}: {error}")
            self._settle(trial, State.FAIL, None, error)

    def fail(self, number: int, failure: Failure) -> None:
        """Retry a trial that failed, if that may help, else end it."""
        if self._retries.allow(number, failure):
            self.give_again(number)
        else:
            self.end(number, self._retries.reason(number, failure))

    def give_again(self, number: int) -> None:
        """Give an open trial out again, before all others."""
        level = self.open[number].level
        self._put_back(number)
        if level in self._setting(number).waiting:
            self._again.insert(0, number)

    def _setting(self, number: int) -> Setting:
        level, index = self._rules.level(number), self._rules.setting(number)
        return next(settings[index] for group, settings in self.settings.items() if level in group)

    def _all_settings(self) -> Iterator[Setting]:
        for settings in self.settings.values():
            yield from settings.values()

    def _next(self) -> OpenTrial | None:
        """A trial that is given out again, else that of the first block that waits, by setting."""
        if self._again:
            number = self._again.pop(0)
            return self._setting(number).waiting[self._rules.level(number)]
        unfinished = (setting for setting in self._all_settings() if setting.waiting)
        for setting in sorted(unfinished, key=lambda setting: setting.index):
            trial = setting.next_block()
            if trial is not None and self._may_begin(setting, trial):
                return trial
        return None

    def _may_begin(self, setting: Setting, trial: OpenTrial) -> bool:
        """Whether a trial may begin its next block.

        The last block of a setting waits until it is known whether to drop the setting before it. So it depends on
        scores alone, not on which worker is faster.
        """
        is_last = setting.blocks[-1] == (trial.level, trial.folds_done)
        if len(setting.group) == 1 or not is_last or self._rules.pruner == "none":
            return True
        curve = setting.curve
        return curve.finished == len(setting.blocks) - 1 and setting.seen == curve.n_points

    def _next_group(self) -> Group | None:
        """The group with the fewest settings that still needs one."""
        late = time.monotonic() > self._rules.deadline
        wanting = [
            group
            for group, count in self._optuna.asked.items()
            if count < self._rules.n_settings
            and not (late and any(s.is_whole or not s.has_ended for s in self.settings[group].values()))
        ]
        return min(wanting, key=lambda group: self._optuna.asked[group], default=None)

    def _continue(self, recorded: Mapping[int, RecordedTrial]) -> None:
        """Take up the settings of earlier runs."""
        running = {(asked.group, asked.index): asked for asked in self._optuna.unfinished}
        for group, settings in self.settings.items():
            trials = {number: trial for number, trial in recorded.items() if self._rules.level(number) in group}
            indices = {self._rules.setting(number) for number in trials} | {i for g, i in running if g == group}
            for index in sorted(indices):
                own = {
                    self._rules.level(number): trial
                    for number, trial in trials.items()
                    if self._rules.setting(number) == index
                }
                asked = running.get((group, index))
                if asked is not None:
                    self._optuna.prepare(asked)
                    self._begin(asked, own)
                elif index < self._optuna.asked[group]:
                    settings[index] = self._new_setting(index, group, None, own)
            self._race(group)

    def _new_setting(
        self, index: int, group: Group, asked: Asked | None, recorded: Mapping[str, RecordedTrial]
    ) -> Setting:
        setting = Setting(index=index, group=group, blocks=self._rules.blocks(group), asked=asked)
        for level, trial in recorded.items():
            setting.states[level] = trial.state
            setting.objectives[level] = trial.objectives
            # A first fold is finished if another follows it, or if its trial is complete.
            whole = trial.state == State.COMPLETE or len(trial.values) > 1
            setting.epochs[level] = len(trial.values[0]) if whole else self._rules.profile.epochs
            setting.values[level] = trial.values
            if trial.state == State.FAIL:
                self._count_as_zero(setting, level)
        return setting

    def _begin(self, asked: Asked, recorded: Mapping[str, RecordedTrial]) -> None:
        """Configure a setting at all its levels that are not recorded."""
        setting = self._new_setting(asked.index, asked.group, asked, recorded)
        resumed = asked in self._optuna.unfinished or bool(recorded)
        self.settings[asked.group][asked.index] = setting
        ranges: dict[str, BaseDistribution] = {}
        for level in asked.group:
            number = self._rules.number(asked.index, level)
            suggester = LevelSuggester(asked.optuna_trial, level, ranges)
            try:
                configuration = self._rules.space.configure(suggester, level, self._rules.profile)
            except Exception as error:  # of the user's space; it ends this trial alone
                if level not in recorded:
                    self._reject(setting, number, suggester.params, f"{type(error).__name__}: {error}")
                continue
            if level in recorded:
                continue
            setting.epochs[level] = configuration.training.epochs
            trial = OpenTrial(
                number=number,
                level=level,
                title=self._rules.title(number),
                params=suggester.params,
                configuration=configuration,
                begun=resumed,
            )
            setting.waiting[level] = trial
            self._rewind(setting, trial)
        self._close(setting)

    def _rewind(self, setting: Setting, trial: OpenTrial) -> None:
        """Take up a trial that has begun from its checkpoint."""
        if trial.begun:
            trial.values, trial.train_s = self._resume(trial.number)
        setting.values[trial.level] = trial.values

    def _count_as_zero(self, setting: Setting, level: str) -> None:
        """A failed trial counts as the worst in every block."""
        epochs = setting.epochs.setdefault(level, self._rules.profile.epochs)
        setting.values[level] = [[0.0] * epochs for _ in range(self._rules.n_folds)]

    def _open(self, trial: OpenTrial) -> OpenTrial:
        setting = self._setting(trial.number)
        del setting.waiting[trial.level]
        setting.running.add(trial.level)
        self._rewind(setting, trial)
        if not trial.begun:
            trial.begun, trial.started = True, datetime.now(UTC)
        trial.then, trial.pooled = Then.CONTINUE, None
        self.open[trial.number] = trial
        return trial

    def _put_back(self, number: int) -> None:
        """Have an open trial wait again; one of a setting that was dropped meanwhile ends."""
        trial, setting = self.open.pop(number), self._setting(number)
        setting.running.discard(trial.level)
        setting.waiting[trial.level] = trial
        if setting.dropped_in is not None:
            self._end_waiting(setting)

    def _race(self, group: Group) -> None:
        """Decide which settings of a group to drop, each after every epoch of its curve."""
        settings = [setting for _, setting in sorted(self.settings[group].items())]
        for setting in settings:
            if setting.dropped_in is not None or setting.is_judged:
                continue
            curve = setting.curve
            while setting.seen < curve.n_points:
                seen = curve.until(setting.seen + 1)
                rivals = self._rivals(setting, seen, settings)
                if rivals is None:
                    break
                setting.seen += 1
                self._report(setting, seen)
                if should_drop(
                    self._rules.pruner, seen, rivals, kept=self._rules.kept, n_levels=len(setting.group)
                ):
                    setting.dropped_in = len(seen.values) - 1
                    self._end_waiting(setting)
                    break

    def _rivals(self, setting: Setting, seen: Curve, settings: Sequence[Setting]) -> list[Curve] | None:
        """The curves that a setting is held against; None if they are not known yet.

        Where levels share settings, these are the settings before it that have finished the same blocks. Where
        each level is searched by itself, they are all that have come as far at present.
        """
        if len(setting.group) == 1:
            others = [s for s in settings if s is not setting and State.FAIL not in s.states.values()]
            if self._rules.pruner == "race":
                return [other.curve for other in others if other.is_whole]
            return [other.curve for other in others if other.curve.n_points >= seen.n_points]
        block = len(seen.values) - 1
        rivals: list[Curve] = []
        if block == len(setting.blocks) - 1:  # others may not have come as far yet, and too little is left to save
            return rivals
        for other in settings:
            if other.index >= setting.index:
                break
            if other.dropped_in is not None and other.dropped_in <= block:
                continue
            curve = other.curve
            known = other.seen >= sum(map(len, curve.values[: block + 1]))
            if curve.finished <= block or not known:
                if other.has_ended:  # of an earlier run that dropped it by other rules
                    continue
                return None
            rivals.append(curve)
        return rivals

    def _report(self, setting: Setting, seen: Curve) -> None:
        """Report to Optuna the mean over the blocks so far, after each of them."""
        n = seen.finished
        if setting.asked is not None and n == len(seen.values):
            self._optuna.report(setting.asked, seen.mean(n), n)

    def _end_waiting(self, setting: Setting) -> None:
        """End the trials of a dropped setting that are not running."""
        for trial in list(setting.waiting.values()):
            self._settle(trial, State.PRUNED, _last_value(trial))
        self._close(setting)

    def _settle(self, trial: OpenTrial, state: State, value: float | None, error: str | None = None) -> None:
        """Record how a trial ended."""
        setting = self._setting(trial.number)
        self.open.pop(trial.number, None)
        setting.running.discard(trial.level)
        setting.waiting.pop(trial.level, None)
        if trial.number in self._again:
            self._again.remove(trial.number)
        completed = datetime.now(UTC)
        self._on_end(EndedTrial(trial=trial, state=state, value=value, error=error, completed=completed))
        self._enter(setting, trial.level, state, error)
        if state == State.COMPLETE and trial.pooled is not None:
            setting.objectives[trial.level] = self._rules.objectives(trial.configuration, trial.pooled)
        if state == State.FAIL:
            self._count_as_zero(setting, trial.level)
            self._race(setting.group)
        self._close(setting)

    def _reject(self, setting: Setting, number: int, params: Params, error: str) -> None:
        """End a trial whose parameters make no network."""
        level = self._rules.level(number)
        self._failures.append(f"trial {number}: {error}")
        self._on_reject(number, level, params, error)
        self._enter(setting, level, State.FAIL, error)
        self._count_as_zero(setting, level)

    def _enter(self, setting: Setting, level: str, state: State, error: str | None) -> None:
        setting.states[level] = state
        if error is not None:
            setting.errors.append(error)

    def _close(self, setting: Setting) -> None:
        """Tell Optuna how a setting ended, once all its trials have."""
        if setting.asked is None or not setting.has_ended:
            return
        asked, setting.asked = setting.asked, None
        states = set(setting.states.values())
        if State.FAIL in states:
            error = next(iter(setting.errors), None)
            self._optuna.tell(asked, State.FAIL, error=error or "a trial of it failed")
        elif State.PRUNED in states:
            self._optuna.tell(asked, State.PRUNED)
        else:
            columns = zip(*setting.objectives.values(), strict=True)
            self._optuna.tell(asked, State.COMPLETE, [sum(values) / len(values) for values in columns])


def _last_value(trial: OpenTrial) -> float | None:
    """Where a trial stopped: the mean over its folds so far; None if it never began."""
    finals = [fold[-1] for fold in trial.values if fold]
    return sum(finals) / len(finals) if finals else None
