"""The search phase: settings are tried at every level, on the search folds."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from search.analysis.selection import collapses, kept_settings, pareto_front
from search.common.errors import StudyFailedError
from search.common.files import replace_file
from search.common.metrics import Metrics
from search.data.splits import Split
from search.records.arguments import SCORES, SHIFT_SCORE
from search.records.ledger import Ledger
from search.records.observers import Training
from search.records.schema import KEY_COLUMNS, TABLES, Key, Phase
from search.space import Configuration, Params
from search.study.configurations import level_configuration
from search.study.context import Study, params_of
from search.study.plan import search_partition
from search.training.cost import scoring_cost, training_cost
from search.training.types import Step
from search.tuning.optuna_journal import journal_storage
from search.tuning.rules import Direction, RecordedTrial, Rules, State, Then
from search.tuning.settings import EndedTrial, OpenTrial
from search.tuning.trials import Trials
from search.tuning.tune import run_search
from wbcmodels.network import model_size


def search(study: Study) -> None:
    """Run the search's trials that are not recorded yet.

    Raises:
        StudyFailedError: the first several trials failed, or none finished.
    """
    Search(study).run()


class Search:
    """The search of one study: its trials, and how they are recorded.

    Attributes:
        splits: search folds of each level. Levels that share settings take turns with the folds of a partition, so
            that a setting's mean over levels is of many images, even where each level trains on one fold.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        plan, arguments = study.plan, study.arguments
        partition = search_partition(plan.search_folds, shared=plan.shares_settings)
        splits = study.partition(study.source, study.development, "search", partition)
        self.splits = {
            level: in_turn(splits, place)[: plan.search_folds]
            for group in study.space.groups
            for place, level in enumerate(group)
        }
        self._running: dict[int, Training] = {}
        self._resumed_epochs: dict[int, int] = {}
        self._best: dict[str, Any] | None = None
        budget_s = arguments.time_budget_s
        self._rules = Rules(
            space=study.space,
            profile=plan.profile,
            n_trials=plan.n_trials,
            n_folds=plan.search_folds,
            kept=max(plan.compare_settings, plan.finalists),
            metric=study.metric,
            seed=study.seed,
            sampler=arguments.sampler,
            pruner=arguments.pruner,
            directions={name: _direction(name) for name in arguments.objective_names},
            objectives=self._objectives,
            costs=plan.costs,
            deadline=float("inf") if budget_s is None else time.monotonic() + budget_s,
        )
        self.trials = Trials(
            self._rules,
            storage=journal_storage(study.folder.optuna_journal),
            recorded=recorded_trials(study.ledger, study.metric, arguments.objective_names),
            resume=self._resume,
            on_end=self._on_end,
            on_reject=self._on_reject,
        )

    def run(self) -> None:
        """Run all trials, and report the result."""
        study, plan = self._study, self._study.plan
        n_levels = len(study.space.levels)
        folds = f"{plan.search_folds} fold{'' if plan.search_folds == 1 else 's'}"
        what = f"{plan.n_trials} trials"
        if study.space.shares_settings:
            what = f"{plan.n_trials // n_levels} settings at each of {n_levels} levels"
        elif n_levels > 1:
            what += f", {plan.n_trials // n_levels} for each of {n_levels} levels"
        study.reporter.phase(Phase.SEARCH, f"{what}, on {folds}")
        self._count_recorded()
        try:
            run_search(
                self.trials,
                self,
                images=study.shared[study.source.source],
                splits=self.splits,
                seed=study.seed,
                cluster=study.cluster,
                elsewhere=[(where, study.shared[where.data]) for where in study.shifted()],
            )
        except OSError as error:  # of Optuna's journal: errors of the study's other files name the file themselves
            raise StudyFailedError(f"{study.folder.optuna_journal}: {error.strerror or error}") from error
        if self.trials.failure is not None:
            raise StudyFailedError(f"the search failed, {self.trials.failure}")
        self._say_result()

    def _count_recorded(self) -> None:
        """Tell clock and reporter of the trials that ended in earlier runs."""
        study, clock = self._study, self._study.reporter.clock
        for row in study.ledger.read("trials").to_pylist():
            level, done = row["level"], 0.0
            if row["epochs"]:
                profile = study.plan.profile
                configuration = level_configuration(study.space, level, profile, params_of(row))
                n_epochs = configuration.training.epochs * len(self.splits[level])
                done = self._cost(configuration, level) * row["epochs"] / n_epochs
            clock.done_before(Phase.SEARCH, level, done)
            clock.saved(Phase.SEARCH, level, self._most(level) - done)
            self._show_best(row)

    def _show_best(self, row: Mapping[str, Any]) -> None:
        """Show a trial that ended if it is the best so far."""
        if row["state"] == State.COMPLETE and (self._best is None or row["value"] > self._best["value"]):
            self._best = dict(row)
            where = f"{row['level']}, trial {row['number']}"
            self._study.reporter.best(f"best {self._study.metric} {row['value']:.3f} ({where})")

    def _most(self, level: str) -> float:
        """Cost of a trial at a level that is never stopped, with the level's largest network."""
        plan = self._study.plan
        phase = next(phase for phase in plan.phases if phase.name == Phase.SEARCH)
        return phase.most.get(level, phase.cost) * len(self._study.space.levels) / plan.n_trials

    def _cost(self, configuration: Configuration, level: str) -> float:
        """Cost of a whole trial of a configuration."""
        study, n_classes = self._study, len(self._study.source.classes)
        scoring = scoring_cost(configuration, n_classes, sum(len(data.labels) for data in study.shifts))
        return sum(
            training_cost(configuration, n_classes, len(split.train), len(split.val)) + scoring
            for split in self.splits[level]
        )

    def begin(self, trial: OpenTrial) -> bytes | None:
        """Announce a trial that begins or resumes, and return the checkpoint that it resumes from."""
        training = self._running[trial.number] = self._training(trial)
        earlier = self._resumed_epochs.pop(trial.number, 0) * training.epoch_cost
        self._study.reporter.clock.done_before(Phase.SEARCH, trial.level, earlier)
        self._study.recorder.begin(training)
        return self._study.recorder.checkpoint(training)

    def step(self, trial: OpenTrial, step: Step) -> Then:
        """Record an epoch of a trial, and say what it does next."""
        # First the record: a search that is killed here decides again, from the same scores.
        self._study.recorder.step(self._running[trial.number], step)
        if step.trace is not None:
            self._write_trace(trial.number, step.trace)
        return self.trials.step(trial.number, step)

    def tick(self) -> None:
        """Keep tables and observers current."""
        self._study.recorder.tick()

    def _write_trace(self, number: int, trace: bytes) -> None:
        path = self._study.folder.trace
        replace_file(path, lambda partial: partial.write_bytes(trace))
        viewers = "open it in https://ui.perfetto.dev or chrome://tracing"
        self._study.reporter.note(f"an epoch of trial {number} is traced in {path.name}; {viewers}")

    def _resume(self, number: int) -> tuple[list[list[float]], float]:
        """Rewind an unfinished trial to its checkpoint; returns its values so far and the seconds trained."""
        self._study.recorder.rewind(self._key(number))
        train_s = self._study.ledger.read("epochs", ["train_s"], phase=Phase.SEARCH, number=number)["train_s"]
        self._resumed_epochs[number] = len(train_s)
        curves = curves_of(self._study.ledger, self._study.metric, number=number)
        return curves.get(number, []), sum(train_s.to_pylist())

    def _on_reject(self, number: int, level: str, params: Params, error: str) -> None:
        study, key = self._study, self._key(number)
        chosen = {f"params_{name}": value for name, value in params.items()}
        row = {"trial_id": _trial_id(number), "state": State.FAIL, "epochs": 0, "folds_done": 0, "error": error}
        study.ledger.add_row("trials", asdict(key), {**chosen, **row})
        study.reporter.note(f"trial {number} ({level}): its parameters make no network: {error}")
        rejected = Training(key=key, title=self._rules.title(number), params=params, n_train=0, epochs=0)
        study.recorder.end(rejected, State.FAIL, None)

    def _on_end(self, ended: EndedTrial) -> None:
        study, trial = self._study, ended.trial
        training = self._running.pop(trial.number, None) or self._training(trial)
        row = trial_row(ended, _mean_size(self.splits[trial.level]), len(study.source.classes))
        study.ledger.add_row("trials", asdict(training.key), row)
        study.recorder.end(training, ended.state, ended.value)
        unneeded = self._most(trial.level) - trial.epochs * training.epoch_cost
        study.reporter.clock.saved(Phase.SEARCH, trial.level, max(0.0, unneeded))
        study.reporter.refresh()
        if ended.error is not None:
            study.reporter.note(f"trial {trial.number} ({trial.level}) failed: {ended.error}")
        self._show_best({**asdict(training.key), **row})

    def _say_result(self) -> None:
        study = self._study
        trials = study.trials()
        n = Counter(row["state"] for row in trials)
        study.reporter.say(f"{n['COMPLETE']} trials complete, {n['PRUNED']} stopped early, {n['FAIL']} failed")
        levels = {row["level"] for row in trials if row["state"] == State.COMPLETE}
        if not levels:
            raise StudyFailedError("the search failed: no trial finished its folds")
        for level in study.space.levels:
            if level not in levels:
                study.reporter.note(f"level {level}: no trial finished, so it is not compared")
        if study.space.shares_settings:
            self._say_settings(trials)
        names = study.arguments.objective_names
        if len(names) > 1:
            front = pareto_front(trials, {name: _direction(name) == "maximize" for name in names})
            study.ledger.replace("pareto", [_pareto_row(trial) for trial in front])
            study.reporter.say(f"{len(front)} trials on the Pareto front of {', '.join(names)}")

    def _say_settings(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Report how settings ended, the best of them, and those that one level alone spoils."""
        reporter = self._study.reporter
        states: dict[int, list[str]] = {}
        values: dict[int, dict[str, float]] = {}
        for row in trials:
            states.setdefault(row["setting"], []).append(row["state"])
            if row["state"] == State.COMPLETE:
                values.setdefault(row["setting"], {})[row["level"]] = row["value"]
        n_whole = sum(set(found) == {State.COMPLETE} for found in states.values())
        n_dropped = sum(State.PRUNED in found for found in states.values())
        reporter.say(f"{len(states)} settings: {n_whole} whole, {n_dropped} stopped early")
        kept = kept_settings(trials, self._study.plan.compare_settings)
        for setting in kept:
            own = values[setting]
            low, high = min(own, key=own.__getitem__), max(own, key=own.__getitem__)
            reporter.say(
                f"setting {setting}: {self._study.metric} {fmean(own.values()):.3f} on average over {len(own)} "
                f"levels, from {own[low]:.3f} ({low}) to {own[high]:.3f} ({high})"
            )
        for setting, level in collapses(trials, kept):
            score = values[setting][level]
            reporter.note(f"setting {setting} would be kept but for {level}, where it scores only {score:.2f}")

    def _objectives(
        self, configuration: Configuration, metrics: Metrics, shift: float | None
    ) -> tuple[float, ...]:
        """A finished configuration's scores and costs, as the objectives name them."""
        size = model_size(configuration.model, len(self._study.source.classes))
        found = {**asdict(metrics), SHIFT_SCORE: shift, **size._asdict()}
        return tuple(float(found[name]) for name in self._study.arguments.objective_names)

    def _key(self, number: int) -> Key:
        """Key of a whole trial."""
        study = self._study
        return Key(
            phase=Phase.SEARCH,
            number=number,
            level=self._rules.level(number),
            setting=self._rules.setting(number) if study.space.shares_settings else None,
            data=study.source.source,
            seed=study.seed,
        )

    def _training(self, trial: OpenTrial) -> Training:
        """A trial for the recorder."""
        splits = self.splits[trial.level]
        return Training(
            key=self._key(trial.number),
            title=trial.title,
            params=trial.params,
            n_train=round(_mean_size(splits)),
            epochs=trial.configuration.training.epochs,
            validation=tuple(split.val for split in splits),
            cost=self._cost(trial.configuration, trial.level),
        )


def recorded_trials(ledger: Ledger, metric: str, objectives: Sequence[str]) -> dict[int, RecordedTrial]:
    """The trials that have ended, by number.

    Args:
        objectives: their names.
    """
    curves = curves_of(ledger, metric)
    recorded = {}
    for row in ledger.read("trials").to_pylist():
        is_complete = row["state"] == State.COMPLETE
        recorded[row["number"]] = RecordedTrial(
            params=params_of(row),
            state=State(row["state"]),
            objectives=tuple(row[name] for name in objectives) if is_complete else (),
            values=curves.get(row["number"], []),
            folds_done=row["folds_done"],
            error=row["error"],
        )
    return recorded


def curves_of(ledger: Ledger, metric: str, **key: int) -> dict[int, list[list[float]]]:
    """The searched metric after each epoch of each fold of the search, by trial.

    Args:
        key: values of the rows wanted.
    """
    columns = ["number", "fold", "epoch", f"val_{metric}"]
    rows = ledger.read("epochs", columns, phase=Phase.SEARCH, **key)
    if not rows.num_rows:
        return {}
    number, fold, _, values = rows.sort_by([(name, "ascending") for name in columns[:3]]).columns
    numbers, folds = number.to_numpy(), fold.to_numpy()
    starts = np.flatnonzero(np.diff(numbers) | np.diff(folds)) + 1
    curves: dict[int, list[list[float]]] = {}
    for first, curve in zip([0, *starts], np.split(values.to_numpy(), starts), strict=True):
        curves.setdefault(int(numbers[first]), []).append(curve.tolist())
    return curves


def in_turn(splits: Sequence[Split], place: int) -> tuple[Split, ...]:
    """The folds of a partition, beginning with another one for each place."""
    first = place % len(splits)
    return (*splits[first:], *splits[:first])


def _mean_size(splits: Sequence[Split]) -> float:
    """Training images per fold."""
    return fmean(len(split.train) for split in splits)


def trial_row(ended: EndedTrial, n_train: float, n_classes: int) -> dict[str, Any]:
    """A trial's row of the trials table, without the key.

    Args:
        n_train: training images per fold.
        n_classes: of the data set.
    """
    trial = ended.trial
    pooled = {} if trial.pooled is None else asdict(trial.pooled)
    return {
        **{f"params_{name}": value for name, value in trial.params.items()},
        "trial_id": _trial_id(trial.number),
        "state": ended.state,
        "value": ended.value,
        "datetime_start": trial.started,
        "datetime_complete": ended.completed,
        "duration_s": (ended.completed - trial.started).total_seconds(),
        "epochs": trial.epochs,
        "folds_done": trial.folds_done,
        **pooled,
        SHIFT_SCORE: trial.shift_balanced_accuracy,
        **model_size(trial.configuration.model, n_classes)._asdict(),
        "train_s": trial.train_s,
        "images_per_s": n_train * trial.epochs / trial.train_s if trial.train_s else None,
        "error": ended.error,
    }


def _pareto_row(trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's row of the pareto table."""
    kept = (*KEY_COLUMNS, *TABLES["pareto"])
    return {name: value for name, value in trial.items() if name in kept or name.startswith("params_")}


def _trial_id(number: int) -> str:
    return f"trial-{number:04d}"


def _direction(objective: str) -> Direction:
    """Scores are maximised, costs minimised."""
    return "maximize" if objective in (*SCORES, SHIFT_SCORE) else "minimize"
