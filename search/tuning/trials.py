"""The trials of a search: which are given out, which are stopped early, and how each ends.

Trial numbers go round the levels. A setting is scored in blocks, see `Rules.blocks`, and raced over them. How a
trial ended is settled here and nowhere else. Nothing here depends on Ray.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from statistics import fmean

import optuna

from search.space import Params
from search.training.types import Step
from search.tuning.failures import Failure, Retries
from search.tuning.optuna_studies import Asked, OptunaStudies
from search.tuning.racing import HasBlocks, Rivals, curve_of
from search.tuning.rules import Group, RecordedTrial, Rules, State, Then
from search.tuning.settings import EndedTrial, OpenTrial, Setting

FIRST_FAILURES = 3


class Trials:
    """Gives out trials, follows them, and settles how they end.

    Args:
        storage: Optuna's. Settings that it holds as unfinished are continued first.
        recorded: ended trials of earlier runs, by number.
        resume: called with the number of a trial that was begun and is to be given out again; returns the values
            after each epoch of each fold, and the seconds trained, that it resumes from.
        on_end: called once for every trial that ends, before Optuna is told: from the study's tables Optuna can be
            told again.
        on_reject: called with number, level, parameters and reason for a trial whose parameters make no network.

    Attributes:
        open: trials that are running, by number.
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
        self._groups = rules.space.groups
        self._orders = {group: rules.blocks(group) for group in self._groups}
        self._races = {group: rules.race(group) for group in self._groups}
        self._settings: dict[Group, list[Setting]] = {group: [] for group in self._groups}
        # What settings of a group are held against: where it has one level, all curves as they are; where it has
        # several, those of its first settings, as far as they are decided on; those of stopped ones end there.
        self._rivals: dict[Group, Rivals] = {group: Rivals() for group in self._groups}
        self._unfinished: list[Setting] = []
        self._again: list[int] = []
        self._retries = Retries()
        self._failures: list[str] = []
        self._any_complete = any(trial.state == State.COMPLETE for trial in recorded.values())
        self.open: dict[int, OpenTrial] = {}
        self._optuna = OptunaStudies(rules, storage, recorded)
        for group in self._groups:
            for asked in self._optuna.begun[group]:
                self._begin(asked)

    @property
    def failure(self) -> str | None:
        """Why the search cannot continue: the first several trials all failed. None as long as it can."""
        several = min(FIRST_FAILURES, self._rules.n_trials)
        return self._failures[0] if len(self._failures) >= several and not self._any_complete else None

    def slots(self, slots: int) -> int:
        """How many of the slots may be used, given the trials that are being retried."""
        return self._retries.slots(slots, self.open, self._again)

    def ask(self) -> OpenTrial | None:
        """Give out the next trial; None when there is none for now.

        Trials that are retried come first, then the others of settings that were begun, then new settings.
        """
        while self.failure is None:
            number = self._again.pop(0) if self._again else next(self._waiting(), None)
            if number is not None:
                return self._give(number)
            group = self._next_group()
            if group is None:
                return None
            self._begin(self._optuna.ask(group, len(self._settings[group])))
        return None

    def step(self, number: int, step: Step) -> Then:
        """Follow one epoch of a trial."""
        trial, setting = self.open[number], self._setting(number)
        assert step.epoch.validation is not None  # search folds validate
        if step.fold == len(trial.values):
            trial.values.append([])
        trial.values[step.fold].append(float(getattr(step.epoch.validation, self._rules.metric)))
        trial.train_s += step.epoch.training.train_s
        trial.pooled, trial.shift_balanced_accuracy = step.pooled, step.shift_balanced_accuracy
        self._follow(setting)
        if trial.pooled is not None:
            return Then.CONTINUE  # it ends by itself
        self._race(setting)
        if setting.dropped:
            return Then.STOP
        trial.paused = trial.block(step.fold).finished and self._must_wait(trial, setting)
        return Then.PAUSE if trial.paused else Then.CONTINUE

    def end(self, number: int, error: str | None = None) -> None:
        """Settle a trial that no longer runs.

        FAIL with an error, COMPLETE after its last epoch, PRUNED if its setting was dropped. One that was paused
        waits.
        """
        trial, setting = self.open.pop(number), self._setting(number)
        if error is None and trial.pooled is not None:
            self._end(setting, trial, State.COMPLETE)
        elif error is None and setting.dropped:
            self._end(setting, trial, State.PRUNED)
        elif error is not None or not trial.paused:
            self._end(setting, trial, State.FAIL, error or "its worker was lost")
        self._race(setting)

    def fail(self, number: int, failure: Failure) -> None:
        """Retry a trial that failed, if that may help, else end it."""
        if self._retries.allow(number, failure):
            self.give_again(number)
        else:
            self.end(number, self._retries.reason(number, failure))

    def give_again(self, number: int) -> None:
        """Give an open trial out again, before all others."""
        trial, setting = self.open.pop(number), self._setting(number)
        trial.values, trial.train_s = self._resume(number)
        trial.pooled = trial.shift_balanced_accuracy = None
        self._follow(setting)
        if setting.dropped:
            self._end(setting, trial, State.PRUNED)
        else:
            self._again.insert(0, number)

    def _setting(self, number: int) -> Setting:
        level = self._rules.level(number)
        group = next(group for group in self._groups if level in group)
        return self._settings[group][self._rules.setting(number)]

    def _begin(self, asked: Asked) -> None:
        """Prepare the trials of a setting that is new, or was begun by an earlier run."""
        setting = Setting(asked, ended=dict(asked.recorded))
        setting.dropped = any(trial.state == State.PRUNED for trial in setting.ended.values())
        self._settings[asked.group].append(setting)
        if not asked.told:
            self._unfinished.append(setting)
            self._add_trials(setting)
            if setting.dropped:
                self._drop(setting)
            self._tell_if_over(setting)
        self._follow(setting)
        self._race(setting)

    def _add_trials(self, setting: Setting) -> None:
        """Configure the trials of a setting that have not ended."""
        asked = setting.asked
        for level, configured in self._optuna.configure(asked).items():
            number = self._rules.number(asked.index, level)
            if level in setting.ended:
                continue
            if configured.configuration is None:
                error = str(configured.error)
                self._failures.append(f"trial {number}: {error}")
                self._on_reject(number, level, configured.params, error)
                setting.ended[level] = RecordedTrial(params=configured.params, state=State.FAIL, error=error)
                continue
            trial = setting.pending[level] = OpenTrial(
                number=number,
                level=level,
                title=self._rules.title(number),
                params=configured.params,
                configuration=configured.configuration,
            )
            if asked.resumed:
                trial.values, trial.train_s = self._resume(number)

    def _waiting(self) -> Iterator[int]:
        """Trials of unfinished settings that do not run: by setting, and then by their next blocks."""
        by_number = sorted(
            self._unfinished, key=lambda setting: (setting.asked.index, self._groups.index(setting.asked.group))
        )
        for setting in by_number:
            waiting = [trial for trial in setting.pending.values() if trial.number not in self.open]
            yield from (trial.number for trial in sorted(waiting, key=lambda t: self._place(t, setting)))

    def _place(self, trial: OpenTrial, setting: Setting) -> int:
        """Place of a trial's next block among those of its setting."""
        return self._orders[setting.asked.group].index((trial.level, trial.folds_done))

    def _must_wait(self, trial: OpenTrial, setting: Setting) -> bool:
        """Whether an earlier block of a setting waits for another trial to be given out."""
        waiting = (other for other in setting.pending.values() if other.paused or other.number not in self.open)
        return any(self._place(other, setting) < self._place(trial, setting) for other in waiting)

    def _next_group(self) -> Group | None:
        """The group with the fewest settings that still needs one; of several, the cheapest.

        So every level soon has a trial, and a large network does not hold up small ones.
        """
        late = time.monotonic() > self._rules.deadline

        def has_one(group: Group) -> bool:
            return any(setting.pending or setting.is_whole for setting in self._settings[group])

        wanting = [
            group
            for group, settings in self._settings.items()
            if len(settings) < self._rules.n_settings and not (late and has_one(group))
        ]
        costs = self._rules.costs

        def place(group: Group) -> tuple[int, float]:
            return len(self._settings[group]), sum(costs.get(level, 0.0) for level in group)

        return min(wanting, key=place, default=None)

    def _give(self, number: int) -> OpenTrial:
        setting = self._setting(number)
        trial = self.open[number] = setting.pending[self._rules.level(number)]
        trial.paused = False
        if not trial.epochs:
            trial.started = datetime.now(UTC)
        return trial

    def _follow(self, setting: Setting) -> None:
        """Bring a setting's curve up to date, and report blocks that have finished."""
        order = self._orders[setting.asked.group]
        trials: dict[str, HasBlocks] = {**setting.ended, **setting.pending}
        setting.curve = curve_of(order, trials, whole=setting.is_whole)
        if len(setting.asked.group) == 1:
            self._rivals[setting.asked.group].put(setting.asked.index, setting.curve)
        finals = setting.curve.finals
        for n in range(setting.reported + 1, len(finals) + 1 if setting.pending else 0):
            self._optuna.report(setting.asked, fmean(finals[:n]), n)
            setting.reported = n

    def _race(self, setting: Setting) -> None:
        """Drop a setting, or later ones of its group, if they have fallen too far behind.

        Where a group has one level, a setting is held against all that are known at the moment. Where it has
        several, settings run at once, and the result must not depend on which worker is faster. So a setting is
        held against earlier ones alone, once all of these are decided on, and then at every point of its curve in
        turn.
        """
        group = setting.asked.group
        race, settings, rivals = self._races[group], self._settings[group], self._rivals[group]
        if len(group) == 1:
            is_running = bool(setting.pending and setting.curve.blocks) and not setting.dropped
            if is_running and race.stops(setting.curve, rivals):
                self._drop(setting)
            return
        for following in settings[len(rivals) :]:
            stopped = race.stopped(following.curve, rivals, seen=following.seen)
            following.seen = following.curve.n_points
            if stopped is not None:
                rivals.put(len(rivals), stopped)
                if following.pending:  # else it is whole, and stays whole
                    self._drop(following)
            elif following.dropped or not following.pending:
                rivals.put(len(rivals), following.curve)
            else:
                break

    def _drop(self, setting: Setting) -> None:
        """Stop a setting early: what runs stops at its next epoch, what waits ends here."""
        setting.dropped = True
        for trial in [trial for trial in setting.pending.values() if trial.number not in self.open]:
            self._end(setting, trial, State.PRUNED)

    def _end(self, setting: Setting, trial: OpenTrial, state: State, error: str | None = None) -> None:
        """Record how a trial ended, and tell Optuna when it was the last of its setting."""
        value: float | None = None
        objectives: tuple[float, ...] = ()
        if state == State.COMPLETE and trial.pooled is not None:
            value = float(getattr(trial.pooled, self._rules.metric))
            objectives = self._rules.objectives(trial.configuration, trial.pooled, trial.shift_balanced_accuracy)
            self._any_complete = True
        elif state == State.PRUNED and trial.values:
            value = fmean(values[-1] for values in trial.values)
        elif state == State.FAIL:
            self._failures.append(f"trial {trial.number}: {error}")
            setting.seen = 0  # its folds count as 0 from now on
        if trial.number in self._again:
            self._again.remove(trial.number)
        completed = datetime.now(UTC)
        self._on_end(EndedTrial(trial=trial, state=state, value=value, error=error, completed=completed))
        del setting.pending[trial.level]
        setting.ended[trial.level] = RecordedTrial(
            params=trial.params,
            state=state,
            objectives=objectives,
            values=trial.values,
            folds_done=trial.folds_done,
            error=error,
        )
        self._follow(setting)
        self._tell_if_over(setting)

    def _tell_if_over(self, setting: Setting) -> None:
        if not setting.pending and setting in self._unfinished:
            self._optuna.tell(setting.asked, setting.ended)
            self._unfinished.remove(setting)
