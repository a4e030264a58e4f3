"""The search: every level for itself, on the search folds."""

import time
from dataclasses import asdict

import numpy as np

from search.choose import best_trials
from search.columns import Key
from search.errors import StudyFailedError
from search.phases.context import Study, sized
from search.plan import training_cost
from search.records import FoldRecorder, trial_row
from search.space import Configuration, Params
from search.trial import TrialStep
from search.tuning.book import EndedTrial, TrialBook
from search.tuning.tune import run_search


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
        plan = study.plan
        self._splits = study.partition(study.source, study.development, "search", plan.search_folds)
        self._recorder = FoldRecorder(study.ledger, study.source)
        self._forget_unfinished()
        budget_s = study.arguments.time_budget_s
        self._book = TrialBook(
            journal=study.folder.optuna_journal,
            space=study.space,
            profile=plan.profile,
            n_trials=plan.n_trials,
            metric=study.metric,
            seed=study.seed,
            on_end=self._on_end,
            on_reject=self._on_reject,
            ended={row["number"]: (row["state"], row["value"]) for row in study.trials()},
            deadline=float("inf") if budget_s is None else time.monotonic() + budget_s,
        )

    def run(self) -> None:
        """Run to the end and say what came of it."""
        study, plan = self._study, self._study.plan
        n_levels = len(study.space.levels)
        each = "" if n_levels == 1 else f", {plan.n_trials // n_levels} for each of {n_levels} levels"
        study.reporter.phase("search", f"{plan.n_trials} trials{each}, on {plan.search_folds} folds")
        run_search(
            self._book,
            images=study.shared[study.source.source],
            splits=self._splits,
            seed=study.seed,
            cluster=study.cluster,
            on_step=self._on_step,
            tick=study.ledger.flush_if_due,
        )
        if self._book.failure is not None:
            raise StudyFailedError(f"the search failed, {self._book.failure}")
        self._say_result()

    def _forget_unfinished(self) -> None:
        """Remove what an earlier run recorded of trials that did not end, since they are run again."""
        ledger = self._study.ledger
        ended = {row["number"] for row in self._study.trials()}
        begun = {row["number"]: row for row in ledger.read("epochs").to_pylist() if row["phase"] == "search"}
        for number in begun.keys() - ended:
            row = begun[number]
            ledger.forget(Key(phase="search", number=number, level=row["level"], data=row["data"]))

    def _on_step(self, number: int, step: TrialStep) -> None:
        study, trial = self._study, self._book.open[number]
        key = Key(
            phase="search",
            number=number,
            level=trial.level,
            data=study.source.source,
            repeat=0,
            seed=study.seed,
            fold=step.fold,
        )
        self._recorder.epochs(key, [step.epoch])
        if step.fold_score is not None:
            self._recorder.fold(key, step.fold_score, self._splits[step.fold].val)
        study.reporter.worked(self._cost(trial.configuration) / self._epochs(trial.configuration))

    def _on_reject(self, number: int, level: str, params: Params, error: str) -> None:
        study = self._study
        key = Key(phase="search", number=number, level=level, data=study.source.source, seed=study.seed)
        chosen = {f"params_{name}": value for name, value in params.items()}
        row = {"trial_id": f"trial-{number:04d}", "state": "FAIL", "epochs": 0, "folds_done": 0, "error": error}
        study.ledger.add_row("trials", asdict(key), {**chosen, **row})
        study.reporter.note(f"trial {number} ({level}) makes no network: {error}")

    def _on_end(self, ended: EndedTrial) -> None:
        study, trial = self._study, ended.trial
        key = Key(
            phase="search", number=trial.number, level=trial.level, data=study.source.source, seed=study.seed
        )
        n_train = float(np.mean([len(split.train) for split in self._splits]))
        row = trial_row(ended, n_train, len(study.source.classes))
        study.ledger.add_row("trials", asdict(key), row)
        left = 1 - trial.epochs / self._epochs(trial.configuration)
        study.reporter.credit(left * self._cost(trial.configuration))
        if ended.error is not None:
            study.reporter.note(f"trial {trial.number} ({trial.level}) failed: {ended.error}")
        best = max(best_trials(study.trials()).values(), key=lambda row: row["value"], default=None)
        if best is not None:
            where = f"{best['level']}, trial {best['number']}"
            study.reporter.best(f"best {study.metric} {best['value']:.3f} ({where})")

    def _say_result(self) -> None:
        study = self._study
        trials = study.trials()
        n = {state: sum(row["state"] == state for row in trials) for state in ("COMPLETE", "PRUNED", "FAIL")}
        study.reporter.say(f"{n['COMPLETE']} trials complete, {n['PRUNED']} stopped early, {n['FAIL']} failed")
        best = best_trials(trials)
        if not best:
            raise StudyFailedError("the search failed: no trial finished its folds")
        for level in study.space.levels:
            if level not in best:
                study.reporter.note(f"level {level}: no trial finished, so it is not compared")

    def _cost(self, configuration: Configuration) -> float:
        """Cost of a whole trial."""
        configuration = sized(configuration, self._study.source)
        return sum(training_cost(configuration, len(split.train), len(split.val)) for split in self._splits)

    def _epochs(self, configuration: Configuration) -> int:
        return configuration.training.epochs * len(self._splits)
