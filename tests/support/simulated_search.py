"""A search whose trainings take no time: the study's own search, tables, checkpoints and Optuna journal."""

import io
import math
from dataclasses import replace
from itertools import islice

import numpy as np
import optuna
import pandas as pd
from rich.console import Console

from search.common.console import ProgressReporter
from search.common.metrics import METRIC_NAMES, Metrics
from search.data.imageset import ImageSet
from search.records.arguments import Arguments
from search.records.ledger import Ledger
from search.records.observers import Observers
from search.records.schema import KEY_COLUMNS
from search.records.studyfolder import StudyFolder
from search.space import Configuration, Profile, Space, TrainingConfig
from search.study.context import Study
from search.study.plan import Request, make_plan
from search.study.resume import discard_unfinished
from search.study.searching import Search
from search.training.checkpoint import Checkpoint
from search.training.types import EpochResult, EpochScore, FoldScore, Normalisation, Step
from search.tuning.optuna_journal import journal_storage
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


def rates(**lrs):
    """A space whose first points have the given rates, by level (as level_1=...)."""
    by_level = {name.removeprefix("level_"): points for name, points in lrs.items()}
    return make_space(
        levels=tuple(by_level),
        first_points=lambda level, _: tuple({"norm": "batch", "lr": lr} for lr in by_level[level]),
    )


def quality(configuration):
    """From 0 at the lowest rate to 1 at the highest."""
    return 1.5 + math.log10(configuration.training.lr) / 2


def metrics(value):
    return Metrics(**dict.fromkeys(METRIC_NAMES, value))


def steps_of(configuration, splits):
    """The steps of a trial: the higher its rate, the better; no two of its values are equal."""
    for fold, split in enumerate(splits):
        for epoch in range(1, EPOCHS + 1):
            value = max(0.0, quality(configuration) * (epoch / EPOCHS) - fold / 1000)
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
                pooled=metrics(quality(configuration)) if over else None,
                checkpoint=None if over else checkpoint.to_bytes(),
            )


class SimulatedSearch:
    """Runs a search's trials by hand.

    Attributes:
        given: numbers of trials in the order in which they were given out.
        trained: epochs trained.
    """

    def __init__(self, folder, *, space=None, n_trials=12, several=False, **arguments):
        self.space = space or make_space()
        objectives = "balanced_accuracy,macs" if several else None
        self.arguments = Arguments(space="own", trials=n_trials, objectives=objectives, **arguments)
        self.given, self.trained = [], 0
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
        request = Request(
            profile_name="quick", synthetic=False, n_images=40, n_target=None, n_trials=self.arguments.trials,
            search_folds=None, finalists=None, folds=2, repeats=1, profile=PROFILE,
        )  # fmt: skip
        plan = make_plan(make_space(levels=self.space.levels), request)
        labels = np.arange(40) % 2
        source = ImageSet(
            source="own", classes=CLASSES, names=tuple(map(str, range(40))), labels=labels, pixels={},
            fingerprint="",
        )  # fmt: skip
        reporter = ProgressReporter(Console(file=self.output, width=300), plan.cost)
        self.study = Study(
            arguments=self.arguments, space=self.space, plan=plan, source=source, target=None,
            development=np.arange(40), locked=np.arange(0), folder=self.folder, ledger=self.ledger, cluster=None,
            reporter=reporter, workers=None, photograph=None, observers=Observers((), reporter.note),
        )  # fmt: skip
        self.search = Search(self.study)
        self.trials = self.search.trials
        self.splits = self.study.partition(source, self.study.development, "search", FOLDS)

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
            self.running[trial.number] = islice(steps_of(trial.configuration, self.splits), trial.epochs, None)
            self.given.append(trial.number)
        return trial

    def advance(self, number):
        """One epoch of a trial, or its end."""
        step = next(self.running[number], None)
        self.trained += step is not None
        if step is None or self.search.step(self.trials.open[number], step):
            self.end(number)

    def end(self, number, error=None):
        del self.running[number]
        self.trials.end(number, error)

    def fail(self, number, failure):
        del self.running[number]
        self.trials.fail(number, failure)

    def finish(self, number):
        while number in self.running:
            self.advance(number)

    def run(self):
        """Finish whatever runs, and then one trial after another."""
        for number in list(self.running):
            self.finish(number)
        while (trial := self.ask()) is not None:
            self.finish(trial.number)
        return self

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

    def in_optuna(self):
        """Trials by level, as they are in the journal."""
        storage = journal_storage(self.folder.optuna_journal)
        return {
            level: optuna.load_study(study_name=f"level {level}", storage=storage).get_trials()
            for level in self.space.levels
        }

    def told(self):
        """Ended trials as Optuna's samplers and its dashboard see them."""
        return {
            (level, trial.number): (
                trial.state.name, trial.params, trial.distributions, trial.values, trial.intermediate_values,
                trial.user_attrs,
            )
            for level, trials in self.in_optuna().items()
            for trial in trials
            if trial.state.is_finished()
        }  # fmt: skip


def check_tables(search):
    """Every key is unique, epochs are contiguous, and trials, epochs and folds agree."""
    trials, epochs, folds = (search.table(name) for name in ("trials", "epochs", "folds"))
    predictions = search.table("predictions")
    for frame, more in ((trials, []), (epochs, ["epoch"]), (folds, []), (predictions, ["image"])):
        assert not frame.duplicated([*KEY_COLUMNS, *more]).any()
    for row in trials.to_dict("records"):
        own = epochs[epochs["number"] == row["number"]]
        places = list(zip(own["fold"], own["epoch"], strict=True))
        assert places == [(f, e) for f in range(FOLDS) for e in range(1, EPOCHS + 1)][: int(row["epochs"])]
        assert row["folds_done"] == (folds["number"] == row["number"]).sum() == row["epochs"] // EPOCHS
        assert (row["state"] == "COMPLETE") <= (row["epochs"] == FOLDS * EPOCHS)
        assert (row["value"] is None or math.isnan(row["value"])) == (row["state"] == "FAIL")
        assert (row["error"] is not None and row["error"] == row["error"]) == (row["state"] == "FAIL")


def check_finished(search):
    """What holds of every finished search, whatever happened on its way."""
    check_tables(search)
    assert sorted(search.states) == list(range(search.arguments.trials))
    assert search.ask() is None
    assert not search.trials.open
    assert search.trials.slots(2) == 2
    epochs, several = search.table("epochs"), len(search.arguments.objective_names) > 1
    for index, (level, trials) in enumerate(search.in_optuna().items()):
        for trial in trials:
            number = trial.number * len(search.space.levels) + index
            assert trial.state.name == search.states[number]
            assert trial.params == search.params(number)
            values = epochs[epochs["number"] == number]["val_balanced_accuracy"].tolist()
            reported = list(trial.intermediate_values.values())
            # Values reported before a kill stay, even if the trial is rewound and then fails earlier.
            assert reported[: len(values)] == ([] if several else values)
        for index_of_first, first in enumerate(search.space.first_points(level, PROFILE)[: len(trials)]):
            assert [trial.number for trial in trials if trial.params == first] == [index_of_first]


def assert_same(one, other):
    for name in ("trials", "epochs", "folds", "predictions"):
        pd.testing.assert_frame_equal(one.table(name), other.table(name))
