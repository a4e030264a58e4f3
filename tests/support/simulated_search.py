"""A search whose trainings take no time: the study's own search, tables, checkpoints and Optuna journal."""

import io
import math
import random
from dataclasses import replace
from itertools import islice

import numpy as np
import optuna
import pandas as pd
import pytest
from rich.console import Console

from search.common.console import ProgressReporter
from search.common.metrics import METRIC_NAMES, Metrics
from search.data.imageset import ImageSet
from search.records.arguments import Arguments
from search.records.description import Plan, PlannedPhase
from search.records.ledger import Ledger
from search.records.observers import Observers
from search.records.schema import KEY_COLUMNS
from search.records.studyfolder import StudyFolder
from search.space import Configuration, Profile, Space, TrainingConfig
from search.study.context import Study
from search.study.forecast import clock_of
from search.study.resume import discard_unfinished
from search.study.searching import Search
from search.training.checkpoint import Checkpoint
from search.training.types import EpochResult, EpochScore, FoldScore, Normalisation, Step
from search.tuning.optuna_journal import journal_storage
from search.tuning.racing import Block, Curve, Race, Rivals
from search.tuning.rules import Then
from wbcmodels.config import ModelConfig

LEVELS = ("none", "1", "2")
EPOCHS, FOLDS = 3, 2
PROFILE = Profile(
    width=0.125, epochs=EPOCHS, transfer_epochs=EPOCHS, input_px=(24,), lr=(0.001, 0.1), trials_per_level=4,
    search_folds=FOLDS,
)  # fmt: skip
FIRST = {"norm": "batch", "lr": 0.05}
CLASSES = ("a", "b")
TIMES = ["datetime_start", "datetime_complete", "duration_s"]


def configuration_of(level, norm, dropout, lr, profile=PROFILE):
    return Configuration(
        model=ModelConfig(placement=level, norm=norm, dropout=dropout, width=profile.width, input_px=24),
        training=TrainingConfig(epochs=profile.epochs, lr=lr),
    )


def configure(suggest, level, profile):
    norm = suggest.suggest_categorical("norm", ("batch", "group"))
    dropout = suggest.suggest_float("group_dropout", 0.0, 0.5) if norm == "group" else 0.0
    return configuration_of(level, norm, dropout, suggest.suggest_float("lr", *profile.lr, log=True), profile)


def configure_numbers(suggest, level, profile):
    """Two numbers that always vary, as cmaes needs them."""
    dropout = suggest.suggest_float("dropout", 0.0, 0.5)
    return configuration_of(level, "batch", dropout, suggest.suggest_float("lr", *profile.lr, log=True), profile)


def make_space(**changes):
    given = {"levels": LEVELS, "configure": configure, "first_points": lambda level, profile: (FIRST,)}
    return Space(question="own?", factor="placement", paper=PROFILE, quick=(PROFILE,), **(given | changes))


def rates(*lrs, **changes):
    """A space whose first points have the given rates."""
    points = tuple({"norm": "batch", "lr": lr} for lr in lrs)
    return make_space(first_points=lambda level, profile: points, **changes)


def no_points(level, profile):
    return ()


def quality(level, lr, fold=0):
    """From 0 at the lowest rate to 1 at the highest, a little different at every level and fold."""
    return 1.5 + math.log10(lr) / 2 - len(level) / 500 - fold / 1000


def values_at(level, lr, fold):
    """The values of a fold: the higher the rate, the better; no two are equal."""
    return [max(0.0, quality(level, lr, fold) * (epoch / EPOCHS)) for epoch in range(1, EPOCHS + 1)]


def metrics(value):
    return Metrics(**dict.fromkeys(METRIC_NAMES, value))


def steps_of(configuration, splits):
    """The steps of a trial."""
    level, lr = configuration.model.placement, configuration.training.lr
    for fold, split in enumerate(splits):
        for epoch, value in enumerate(values_at(level, lr, fold), start=1):
            result = EpochResult(epoch=epoch, lr=0.1, train_loss=1, train_accuracy=0.5, train_s=0.25, data_s=0)
            score = FoldScore(
                n_train=len(split.train), n_val=len(split.val), metrics=metrics(value),
                probabilities=np.full((len(split.val), 2), 0.5),
                normalisation=Normalisation(mean=(0, 0, 0), std=(1, 1, 1)), train_s=0.25 * EPOCHS, weights=None,
            )  # fmt: skip
            last = epoch == EPOCHS
            over = last and fold == len(splits) - 1
            finished = tuple(np.zeros((1, 2)) for _ in range(fold + last))
            checkpoint = Checkpoint(epoch=0 if last else epoch, finished=finished)
            yield Step(
                fold=fold,
                epoch=EpochScore(training=result, validation=metrics(value), val_s=0.0),
                score=score if last else None,
                pooled=metrics(quality(level, lr)) if over else None,
                checkpoint=None if over else checkpoint.to_bytes(),
            )


class SimulatedSearch:
    """Runs a search's trials by hand.

    Attributes:
        given: numbers of trials in the order in which they were given out.
        trained: epochs trained.
    """

    def __init__(
        self, folder, *, space=None, n_trials=12, folds=FOLDS, kept=1, several=False, costs=None, **arguments
    ):
        self.space, self.folds = space or make_space(), folds
        objectives = "balanced_accuracy,macs" if several else None
        self.arguments = Arguments(
            space="own", trials=n_trials, objectives=objectives, compare_settings=kept, **arguments
        )
        self.given, self.trained, self.costs = [], 0, costs or {}
        self.folder = StudyFolder.create(folder, {})
        self.ledger = None
        self.restart()

    def restart(self, *, journal_lost=False, **changes):
        """Continue in a new process; the old one was killed."""
        self.kill()
        self.arguments = replace(self.arguments, **changes)
        self.ledger, self.output, self.running = Ledger(self.folder.path), io.StringIO(), {}
        if journal_lost or not self.folder.optuna_journal.exists():  # as a resumed study does
            discard_unfinished(self.folder, self.ledger)
        plan = Plan(
            profile_name="quick", profile=PROFILE, n_trials=self.arguments.trials, search_folds=self.folds,
            shares_settings=self.space.shares_settings, compare_settings=self.arguments.compare_settings, folds=2,
            repeats=1, costs=self.costs, phases=(PlannedPhase(name="search", trainings=1, epochs=1, cost=1.0),),
        )  # fmt: skip
        labels = np.arange(40) % 2
        source = ImageSet(
            source="own", classes=CLASSES, names=tuple(map(str, range(40))), labels=labels, pixels={},
            fingerprint="",
        )  # fmt: skip
        reporter = ProgressReporter(Console(file=self.output, width=300), clock_of(plan))
        self.study = Study(
            arguments=self.arguments, space=self.space, plan=plan, source=source, target=None,
            development=np.arange(40), locked=np.arange(0), folder=self.folder, ledger=self.ledger, cluster=None,
            reporter=reporter, workers=None, photograph=None, observers=Observers((), reporter.note),
        )  # fmt: skip
        self.search = Search(self.study)
        self.trials = self.search.trials

    def kill(self):
        """End the process; only what is on disk stays."""
        if self.ledger is not None:
            self.ledger._journal.close()

    def ask(self):
        trial = self.trials.ask()
        if trial is not None:
            saved = self.search.begin(trial)
            folds, epochs = (0, 0) if saved is None else Checkpoint.from_bytes(saved).position
            assert trial.epochs == folds * EPOCHS + epochs
            self.running[trial.number] = islice(
                steps_of(trial.configuration, self.search.splits[trial.level]), trial.epochs, None
            )
            self.given.append(trial.number)
        return trial

    def advance(self, number):
        """One epoch of a trial, or its end."""
        step = next(self.running[number], None)
        self.trained += step is not None
        if step is None or self.search.step(self.trials.open[number], step) is not Then.CONTINUE:
            self.end(number)

    def end(self, number, error=None):
        del self.running[number]
        self.trials.end(number, error)

    def fail(self, number, failure):
        del self.running[number]
        self.trials.fail(number, failure)

    def finish(self, number):
        """Train a trial until its worker is free."""
        while number in self.running:
            self.advance(number)

    def run(self, slots=1, chance=None):
        """Finish the search; with several slots, whichever worker is faster."""
        while True:
            while len(self.running) < slots and self.ask() is not None:
                pass
            if not self.running:
                return self
            self.advance((chance or random).choice(list(self.running)))

    def table(self, name):
        frame = self.ledger.read(name).to_pandas()
        keys = ["number", "fold", *[column for column in ("epoch", "image") if column in frame]]
        return frame.sort_values(keys, ignore_index=True).drop(columns=TIMES, errors="ignore")

    @property
    def states(self):
        """By number, how the trials ended."""
        trials = self.table("trials")
        return dict(zip(trials["number"], trials["state"], strict=True))

    def params(self, number):
        return next(row["params"] for row in self.study.trials() if row["number"] == number)

    @property
    def groups(self):
        """By the names of Optuna's studies, their levels."""
        names = ["settings"] if self.space.shares_settings else [f"level {level}" for level in self.space.levels]
        return dict(zip(names, self.space.groups, strict=True))

    def settings(self, group):
        """Rows of a group's trials, setting by setting, in the order of its levels."""
        rows = [row for row in self.study.trials() if row["level"] in group]
        rows.sort(key=lambda row: row["number"])
        return [rows[start : start + len(group)] for start in range(0, len(rows), len(group))]

    def dropped(self):
        """Numbers of the settings that were stopped early."""
        (group,) = self.space.groups
        return [n for n, rows in enumerate(self.settings(group)) if any(row["state"] == "PRUNED" for row in rows)]

    def falling_behind(self, group):
        """Numbers of the settings that a race stops somewhere, judging by scores that nobody has seen yet."""
        race = Race(
            pruner=self.arguments.pruner, n_blocks=len(group) * self.folds, kept=self.arguments.compare_settings,
            n_levels=len(group),
        )  # fmt: skip
        decided, found = Rivals(), []
        for number, rows in enumerate(self.settings(group)):
            lr = {row["level"]: row["params"]["lr"] for row in rows}
            blocks = [
                Block(values=values_at(level, lr[level], fold), n_epochs=EPOCHS, finished=True)
                for level, fold in self.search._rules.blocks(group)
            ]
            stopped = race.stopped(Curve(blocks=blocks, whole=True), decided)
            decided.put(number, stopped or Curve(blocks=blocks, whole=True))
            if stopped:
                found.append(number)
        return found

    def in_optuna(self):
        """Settings by group, as they are in the journal."""
        storage = journal_storage(self.folder.optuna_journal)
        return {name: optuna.load_study(study_name=name, storage=storage).get_trials() for name in self.groups}

    def told(self):
        """Ended settings as Optuna's samplers and its dashboard see them."""
        return {
            (name, trial.number): (
                trial.state.name, trial.params, trial.distributions, trial.values,
                # What was reported before a failure counts as 0 afterwards.
                trial.state.name == "FAIL" or trial.intermediate_values, trial.user_attrs,
            )
            for name, trials in self.in_optuna().items()
            for trial in trials
            if trial.state.is_finished()
        }  # fmt: skip


def check_tables(search):
    """Every key is unique, epochs are contiguous, and trials, epochs and folds agree."""
    trials, epochs, folds = (search.table(name) for name in ("trials", "epochs", "folds"))
    predictions, n_folds = search.table("predictions"), search.folds
    for frame, more in ((trials, []), (epochs, ["epoch"]), (folds, []), (predictions, ["image"])):
        assert not frame.duplicated([*KEY_COLUMNS, *more]).any()
    for row in trials.to_dict("records"):
        own = epochs[epochs["number"] == row["number"]]
        places = list(zip(own["fold"], own["epoch"], strict=True))
        assert places == [(f, e) for f in range(n_folds) for e in range(1, EPOCHS + 1)][: int(row["epochs"])]
        assert row["folds_done"] == (folds["number"] == row["number"]).sum() == row["epochs"] // EPOCHS
        assert (row["state"] == "COMPLETE") <= (row["epochs"] == n_folds * EPOCHS)
        assert (row["value"] == row["value"]) == (row["state"] != "FAIL" and row["epochs"] > 0)
        assert (row["error"] is not None and row["error"] == row["error"]) == (row["state"] == "FAIL")


def check_finished(search):
    """What holds of every finished search, whatever happened on its way."""
    check_tables(search)
    assert sorted(search.states) == list(range(search.arguments.trials))
    assert search.ask() is None
    assert not search.trials.open
    assert search.trials.slots(2) == 2
    in_optuna, one_objective = search.in_optuna(), len(search.arguments.objective_names) == 1
    for name, group in search.groups.items():
        for trial, rows in zip(in_optuna[name], search.settings(group), strict=True):
            states = {row["state"] for row in rows}
            state = next(state for state in ("FAIL", "PRUNED", "COMPLETE") if state in states)
            assert trial.state.name == state
            for row in rows:
                assert row["setting"] == (trial.number if search.space.shares_settings else None)
                assert row["params"].items() <= trial.params.items()
            if state == "COMPLETE":
                assert trial.values[0] == pytest.approx(np.mean([row["value"] for row in rows]))
            finals = [_final(search, level, fold, rows) for level, fold in search.search._rules.blocks(group)]
            n = finals.index(None) if None in finals else len(finals)
            if state != "FAIL":
                means = {k: pytest.approx(np.mean(finals[:k])) for k in range(1, n + 1)}
                assert trial.intermediate_values == (means if one_objective else {})


def _final(search, level, fold, rows):
    """The last value of a block; None if it is not finished."""
    row = next(row for row in rows if row["level"] == level)
    if row["folds_done"] <= fold:
        return None
    epochs = search.ledger.read("epochs").to_pylist()
    own = [e for e in epochs if (e["number"], e["fold"], e["epoch"]) == (row["number"], fold, EPOCHS)]
    return own[0]["val_balanced_accuracy"]


def assert_same(one, other):
    for name in ("trials", "epochs", "folds", "predictions"):
        pd.testing.assert_frame_equal(one.table(name), other.table(name))
