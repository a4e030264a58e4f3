"""The search: every level for itself, on the search folds."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from search.analysis.selection import best_trials, pareto_front
from search.common.errors import StudyFailedError
from search.common.files import replace_file
from search.common.metrics import Metrics
from search.records.arguments import METRICS
from search.records.observers import Training
from search.records.recorder import FoldRecorder
from search.records.schema import KEY_COLUMNS, TABLES, Key
from search.space import Configuration, Params
from search.study.context import Study, params_of, sized
from search.study.plan import training_cost
from search.training.types import Step
from search.tuning.book import EndedTrial, OpenTrial, TrialBook
from search.tuning.storage import interrupts, journal_storage
from search.tuning.studies import Direction, KnownTrial, Rules
from search.tuning.tune import run_search
from wbcmodels.cost import model_size


def search(study: Study) -> None:
    """Run the search's trials that are not on record yet.

    Raises:
        StudyFailedError: the first several trials failed, or none finished.
    """
    Search(study).run()


class Search:
    """The search of one study, from its book of trials to rows and progress."""

    def __init__(self, study: Study) -> None:
        self._study = study
        plan, arguments = study.plan, study.arguments
        self._splits = study.partition(study.source, study.development, "search", plan.search_folds)
        self._recorder = FoldRecorder(study.ledger, study.source)
        self._n_train = float(np.mean([len(split.train) for split in self._splits]))
        self._best: dict[str, Any] | None = None
        budget_s = arguments.time_budget_s
        rules = Rules(
            space=study.space,
            profile=plan.profile,
            n_trials=plan.n_trials,
            metric=study.metric,
            seed=study.seed,
            sampler=arguments.sampler,
            pruner=arguments.pruner,
            directions=tuple(map(_direction, arguments.objective_names)),
            objectives=self._objectives,
            deadline=float("inf") if budget_s is None else time.monotonic() + budget_s,
        )
        self._book = TrialBook(
            rules,
            storage=journal_storage(study.folder.optuna_journal),
            known=self._known(),
            on_end=self._on_end,
            on_reject=self._on_reject,
        )

    def run(self) -> None:
        """Run to the end and say what came of it."""
        study, plan = self._study, self._study.plan
        n_levels = len(study.space.levels)
        each = "" if n_levels == 1 else f", {plan.n_trials // n_levels} for each of {n_levels} levels"
        study.reporter.phase("search", f"{plan.n_trials} trials{each}, on {plan.search_folds} folds")
        images = study.shared[study.source.source]
        try:
            run_search(
                self._book, self, images=images, splits=self._splits, seed=study.seed, cluster=study.cluster
            )
        except (OSError, RuntimeError) as error:
            if interrupts(error):
                raise KeyboardInterrupt from error
            if isinstance(error, OSError):  # of Optuna's journal: the study's other files name themselves
                raise StudyFailedError(f"{study.folder.optuna_journal}: {error.strerror or error}") from error
            raise
        if self._book.failure is not None:
            raise StudyFailedError(f"the search failed, {self._book.failure}")
        self._say_result()

    def step(self, number: int, step: Step) -> None:
        """Take down an epoch of a trial."""
        trial = self._book.open[number]
        key = replace(self._key(number, trial.level), repeat=0, fold=step.fold)
        self._study.timing.add(step.epoch)
        self._recorder.epochs(key, [step.epoch])
        self._study.observers.epoch(self._training(trial), step.fold, step.epoch)
        if step.score is not None:
            self._recorder.fold(key, step.score, self._splits[step.fold].val)
        self._study.reporter.worked(self._cost(trial.configuration) / self._epochs(trial.configuration))
        if step.trace is not None:
            self._keep_trace(number, step.trace)

    def keep(self, number: int, checkpoint: bytes) -> None:
        """Keep the state of a trial that goes on."""
        self._study.checkpoints.keep(self._key(number, self._level(number)), checkpoint)

    def checkpoint(self, number: int) -> bytes | None:
        """The state kept of a trial, which begins with it or goes on."""
        self._study.observers.begin(self._training(self._book.open[number]))
        return self._study.checkpoints.load(self._key(number, self._level(number)))

    def take_back(self, number: int) -> KnownTrial:
        """Take back what lies beyond the state kept of a trial, and say what is left."""
        self._study.take_back(self._key(number, self._level(number)))
        values, train_s = self._shown().get(number, ([], 0.0))
        return KnownTrial(params={}, values=values, train_s=train_s)

    def tick(self) -> None:
        """Keep the tables current, and those who look on."""
        self._study.tick()

    def _keep_trace(self, number: int, trace: bytes) -> None:
        path = self._study.folder.trace
        replace_file(path, lambda partial: partial.write_bytes(trace))
        viewers = "https://ui.perfetto.dev or chrome://tracing opens it"
        self._study.reporter.note(f"an epoch of trial {number} is traced in {path.name}; {viewers}")

    def _known(self) -> dict[int, KnownTrial]:
        """What earlier runs left on record of trials, ended or not."""
        ended = {row["number"]: row for row in self._study.ledger.read("trials").to_pylist()}
        begun = self._shown()
        known = {number: self.take_back(number) for number in begun.keys() - ended}
        for number, row in ended.items():
            values, train_s = begun.get(number, ([], 0.0))
            complete = row["state"] == "COMPLETE"
            known[number] = KnownTrial(
                params=params_of(row),
                state=row["state"],
                objectives=tuple(row[name] for name in self._study.arguments.objective_names) if complete else (),
                values=values,
                train_s=train_s,
                error=row["error"],
            )
        return known

    def _shown(self) -> dict[int, tuple[list[list[float]], float]]:
        """By number of the trial: the searched metric after each epoch of each fold, and seconds trained."""
        rows = self._study.frame("epochs", "search").sort_values(["number", "fold", "epoch"])
        shown = {}
        for _, trial in rows.groupby("number"):
            values = [fold[f"val_{self._study.metric}"].tolist() for _, fold in trial.groupby("fold")]
            shown[trial["number"].iloc[0].item()] = values, float(trial["train_s"].sum())
        return shown

    def _on_reject(self, number: int, level: str, params: Params, error: str) -> None:
        study = self._study
        chosen = {f"params_{name}": value for name, value in params.items()}
        row = {"trial_id": f"trial-{number:04d}", "state": "FAIL", "epochs": 0, "folds_done": 0, "error": error}
        study.ledger.add_row("trials", asdict(self._key(number, level)), {**chosen, **row})
        study.reporter.note(f"trial {number} ({level}) makes no network: {error}")
        title = f"trial {number}"
        rejected = Training(key=self._key(number, level), title=title, params=params, n_train=0, epochs=0)
        study.observers.end(rejected, "FAIL", None)

    def _on_end(self, ended: EndedTrial) -> None:
        study, trial = self._study, ended.trial
        row = trial_row(ended, self._n_train, len(study.source.classes))
        key = self._key(trial.number, trial.level)
        study.ledger.add_row("trials", asdict(key), row)
        study.checkpoints.remove(key)
        study.observers.end(self._training(trial), ended.state, ended.value)
        left = 1 - trial.epochs / self._epochs(trial.configuration)
        study.reporter.credit(left * self._cost(trial.configuration))
        if ended.error is not None:
            study.reporter.note(f"trial {trial.number} ({trial.level}) failed: {ended.error}")
        if ended.state == "COMPLETE" and (self._best is None or row["value"] > self._best["value"]):
            self._best = row
            where = f"{trial.level}, trial {trial.number}"
            study.reporter.best(f"best {study.metric} {row['value']:.3f} ({where})")

    def _say_result(self) -> None:
        study = self._study
        trials = study.trials()
        n = Counter(row["state"] for row in trials)
        study.reporter.say(f"{n['COMPLETE']} trials complete, {n['PRUNED']} stopped early, {n['FAIL']} failed")
        best = best_trials(trials)
        if not best:
            raise StudyFailedError("the search failed: no trial finished its folds")
        for level in study.space.levels:
            if level not in best:
                study.reporter.note(f"level {level}: no trial finished, so it is not compared")
        names = study.arguments.objective_names
        if len(names) > 1:
            front = pareto_front(trials, {name: _direction(name) == "maximize" for name in names})
            study.ledger.replace("pareto", [_pareto_row(trial) for trial in front])
            study.reporter.say(f"{len(front)} trials on the Pareto front of {', '.join(names)}")

    def _objectives(self, configuration: Configuration, metrics: Metrics) -> tuple[float, ...]:
        """What a finished configuration reached, and what it costs."""
        found = {**asdict(metrics), **model_size(configuration.model, len(self._study.source.classes))}
        return tuple(float(found[name]) for name in self._study.arguments.objective_names)

    def _key(self, number: int, level: str) -> Key:
        """Of a whole trial."""
        study = self._study
        return Key(phase="search", number=number, level=level, data=study.source.source, seed=study.seed)

    def _training(self, trial: OpenTrial) -> Training:
        """A trial as observers know it."""
        return Training(
            key=self._key(trial.number, trial.level),
            title=trial.title,
            params=trial.params,
            n_train=round(self._n_train),
            epochs=trial.configuration.training.epochs,
        )

    def _level(self, number: int) -> str:
        """Numbers go round the levels."""
        levels = self._study.space.levels
        return levels[number % len(levels)]

    def _cost(self, configuration: Configuration) -> float:
        """Cost of a whole trial."""
        configuration = sized(configuration, self._study.source)
        return sum(training_cost(configuration, len(split.train), len(split.val)) for split in self._splits)

    def _epochs(self, configuration: Configuration) -> int:
        return configuration.training.epochs * len(self._splits)


def trial_row(ended: EndedTrial, n_train: float, n_classes: int) -> dict[str, Any]:
    """The trials table's columns, beside the key, of a trial that ended.

    Args:
        n_train: training images of a fold.
        n_classes: of the data set.
    """
    trial = ended.trial
    pooled = {} if trial.pooled is None else asdict(trial.pooled)
    return {
        **{f"params_{name}": value for name, value in trial.params.items()},
        "trial_id": f"trial-{trial.number:04d}",
        "state": ended.state,
        "value": ended.value,
        "datetime_start": trial.started,
        "datetime_complete": ended.completed,
        "duration_s": (ended.completed - trial.started).total_seconds(),
        "epochs": trial.epochs,
        "folds_done": trial.folds_done,
        **pooled,
        **model_size(trial.configuration.model, n_classes),
        "train_s": trial.train_s,
        "images_per_s": n_train * trial.epochs / trial.train_s if trial.train_s else None,
        "error": ended.error,
    }


def _pareto_row(trial: Mapping[str, Any]) -> dict[str, Any]:
    """What the Pareto front's table holds of a trial's row."""
    kept = (*KEY_COLUMNS, *TABLES["pareto"])
    return {name: value for name, value in trial.items() if name in kept or name.startswith("params_")}


def _direction(objective: str) -> Direction:
    """Scores are to be high, costs low."""
    return "maximize" if objective in METRICS else "minimize"
