"""A search without training: the book, what a study would keep on record of it, and accidents on demand."""

import math
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import optuna
import pytest

from search.common.metrics import METRIC_NAMES, Metrics
from search.space import Configuration, FixedSuggester, Profile, Space, TrainingConfig
from search.training.types import EpochResult, EpochScore, FoldScore, Normalisation, Step
from search.tuning.book import TrialBook
from search.tuning.storage import journal_storage
from search.tuning.studies import KnownTrial, Rules
from wbcmodels.config import ModelConfig

LEVELS = ("none", "1", "2")
EPOCHS, FOLDS = 3, 2
TRAIN_S = 0.25
PROFILE = Profile(
    width=0.125,
    epochs=EPOCHS,
    transfer_epochs=EPOCHS,
    input_px=(24,),
    lr=(0.001, 0.1),
    trials_per_level=4,
    search_folds=FOLDS,
)
FIRST = {"norm": "batch", "lr": 0.05}
METRIC = "balanced_accuracy"
ENDS = ("COMPLETE", "PRUNED", "FAIL")


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
    lr = suggest.suggest_float("lr", *profile.lr, log=True)
    return configuration_of(level, "batch", dropout, lr, profile)


def make_space(**changes):
    given: dict[str, Any] = {
        "levels": LEVELS,
        "configure": configure,
        "first_points": lambda level, profile: (FIRST,),
    }
    return Space(question="own?", factor="placement", **(given | changes))


def numbers_space():
    return make_space(configure=configure_numbers, first_points=lambda *_: ({"dropout": 0.1, "lr": 0.05},))


def rates(**lrs):
    """A space whose first points have the given rates, by level (as level_1=...)."""
    by_level = {name.removeprefix("level_"): points for name, points in lrs.items()}
    return make_space(
        levels=tuple(by_level),
        first_points=lambda level, _: tuple({"norm": "batch", "lr": lr} for lr in by_level[level]),
    )


def metrics(value):
    return Metrics(**dict.fromkeys(METRIC_NAMES, value))


def quality(configuration):
    """From 0 at the lowest rate to 1 at the highest."""
    return 1.5 + math.log10(configuration.training.lr) / 2


def objectives(configuration, pooled):
    return (pooled.balanced_accuracy,)


def two_objectives(configuration, pooled):
    return pooled.balanced_accuracy, 1000 * configuration.model.dropout


def steps(configuration):
    """The steps of a trial: the higher its rate, the better it is, by enough for some to be stopped."""
    n_epochs = configuration.training.epochs
    for fold in range(FOLDS):
        for epoch in range(1, n_epochs + 1):
            # No two values of a trial are equal, so that none can be taken for another.
            value = max(0.0, quality(configuration) * (epoch / n_epochs) - fold / 1000)
            last = epoch == n_epochs
            training = EpochResult(
                epoch=epoch, lr=0.1, train_loss=1.0, train_accuracy=0.5, train_s=TRAIN_S, data_s=0.0
            )
            score = FoldScore(
                n_train=10,
                n_val=5,
                metrics=metrics(value),
                probabilities=np.empty((0, 2)),
                normalisation=Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
                train_s=TRAIN_S * n_epochs,
                weights=None,
            )
            over = last and fold == FOLDS - 1
            yield Step(
                fold=fold,
                epoch=EpochScore(training=training, validation=metrics(value), val_s=0.0),
                score=score if last else None,
                pooled=metrics(quality(configuration)) if over else None,
                checkpoint=None if over else b"state",
            )


class Crash(BaseException):
    """Of the whole process; what would catch an error of the space does not catch it."""


class Search:
    """A book with what the study keeps on record of it.

    Args:
        keep_every: epochs between two checkpoints; checkpoints of large networks are not kept at every one.
        several: search for two objectives.
        options: further fields of the rules.

    Attributes:
        ended: by number, state, value, objectives, error and parameters of the trials on record.
        shown: by number, the epochs on record.
        kept: by number, how many of them the checkpoint holds.
        trained: by number, how many epochs were trained in all.
        may_repeat: how many epochs accidents so far may have had trained again.
        given: numbers in the order in which they were given out.
        crash_at: where the process is to break off next: asked (in the middle of choosing parameters), recorded
            (an epoch is on record, the book knows nothing of it), stepped (the book knows it, no checkpoint
            holds it) or ended (a trial's end is on record, and Optuna was not told).
    """

    def __init__(self, journal, *, n_trials=12, seed=0, keep_every=1, several=False, **options):
        self.journal, self.keep_every, self.several = journal, keep_every, several
        self.n_trials, self.seed, self.options = n_trials, seed, options
        self.ended, self.shown, self.kept = {}, {}, {}
        self.trained: Counter[int] = Counter()
        self.may_repeat = 0
        self.given = []
        self.crash_at = None
        self.restart()

    @property
    def levels(self):
        return self.space.levels

    @property
    def space(self):
        return self.options.get("space") or make_space()

    def restart(self, *, journal_lost=False):
        """Throw the book away, and go on with what is on record."""
        self.crash_at = None
        self.running = {}
        open_trials = [number for number in self.shown if number not in self.ended]
        if journal_lost:  # then a study drops what is unfinished, as search.study.resume does
            self.journal.unlink()
            for number in open_trials:
                del self.shown[number], self.trained[number]
                self.kept.pop(number, None)
        else:
            self.may_repeat += self.keep_every * len(open_trials)
            for number in open_trials:
                self._roll_back(number)
        given: dict[str, Any] = {
            "space": self._breakable(self.space),
            "profile": PROFILE,
            "n_trials": self.n_trials,
            "metric": METRIC,
            "seed": self.seed,
            "sampler": "tpe",
            "pruner": "race",
            "directions": ("maximize", "minimize") if self.several else ("maximize",),
            "objectives": two_objectives if self.several else objectives,
        }
        options = {name: value for name, value in self.options.items() if name != "space"}
        self.rules = Rules(**(given | options))
        self.book = TrialBook(
            self.rules,
            storage=journal_storage(self.journal),
            known={number: self.known(number) for number in self.shown.keys() | self.ended.keys()},
            on_end=self._on_end,
            on_reject=self._on_reject,
        )

    def known(self, number):
        """What is on record of a trial."""
        values = [[value for at, value in self.shown.get(number, ()) if at == fold] for fold in range(FOLDS)]
        shown: dict[str, Any] = {
            "values": [fold for fold in values if fold],
            "train_s": TRAIN_S * sum(map(len, values)),
        }
        if number not in self.ended:
            return KnownTrial(params={}, **shown)
        ended = self.ended[number]
        names = ("params", "state", "objectives", "error")
        return KnownTrial(**{name: ended[name] for name in names}, **shown)

    def ask(self):
        trial = self.book.ask()
        if trial is None:
            return None
        number = trial.number
        assert number not in self.ended
        assert number not in self.running
        assert trial.level == self.levels[number % len(self.levels)]
        assert self.space.configure(FixedSuggester(trial.params), trial.level, PROFILE) == trial.configuration
        # It goes on from its checkpoint, and the book knows as much.
        known = self.known(number)
        assert trial.progress.values == known.values
        assert trial.epochs == self.kept.get(number, 0) == sum(map(len, known.values))
        assert trial.folds_done == trial.epochs // EPOCHS
        assert trial.train_s == known.train_s
        assert trial.pooled is None
        self.running[number] = islice(steps(trial.configuration), trial.epochs, None)
        self.given.append(number)
        return trial

    def advance(self, number):
        """One call of the trial's worker, and what the driver does with its answer."""
        step = next(self.running[number], None)
        if step is None:
            self.end(number)
            return
        self.trained[number] += 1
        shown = self.shown.setdefault(number, [])
        shown.append((step.fold, step.epoch.validation.balanced_accuracy))
        self._break("recorded")
        stop = self.book.step(number, step)
        self._break("stepped")
        if stop:
            self.end(number)
        elif step.checkpoint is not None and len(shown) % self.keep_every == 0:
            self.kept[number] = len(shown)

    def end(self, number, error=None):
        """A trial that has no more steps, or was stopped, or failed."""
        del self.running[number]
        self.book.end(number, error)

    def lose(self, number, error="its worker died", *, began=True):
        del self.running[number]
        self.book.lose(number, error, lambda: self._take_back(number), began=began)

    def finish(self, number):
        """Go on with one trial until it ends."""
        while number in self.running:
            self.advance(number)

    def run(self):
        """Whatever is running, and then one trial after another, to the end."""
        for number in list(self.running):
            self.finish(number)
        while (trial := self.ask()) is not None:
            self.finish(trial.number)
        return self

    def params(self):
        return {number: ended["params"] for number, ended in self.ended.items()}

    def states(self):
        return {number: ended["state"] for number, ended in self.ended.items()}

    def in_optuna(self):
        """Trials by level, as they are in the journal."""
        storage = journal_storage(self.journal)
        return {
            level: optuna.load_study(study_name=f"level {level}", storage=storage).get_trials()
            for level in self.levels
        }

    def _take_back(self, number):
        self.may_repeat += self.keep_every
        self._roll_back(number)
        return self.known(number)

    def _roll_back(self, number):
        """Remove the epochs that no checkpoint holds."""
        del self.shown.get(number, [])[self.kept.get(number, 0) :]

    def _on_end(self, ended):
        trial = ended.trial
        shown = [value for _, value in self.shown.get(trial.number, ())]
        assert [value for fold in trial.progress.values for value in fold] == shown
        assert trial.epochs == len(shown)
        assert trial.train_s == TRAIN_S * len(shown)
        assert trial.started <= ended.completed
        found = None
        if ended.state == "COMPLETE":
            found = (two_objectives if self.several else objectives)(trial.configuration, trial.pooled)
            assert ended.value == found[0] == quality(trial.configuration)
            assert trial.folds_done == FOLDS
            assert trial.epochs == FOLDS * EPOCHS
        if ended.state == "PRUNED":
            assert trial.pooled is None
            assert 1 <= trial.epochs < FOLDS * EPOCHS
            finals = [fold[-1] for fold in trial.progress.values]
            assert ended.value == pytest.approx(sum(finals) / len(finals))
        assert (ended.value is None) == (ended.state == "FAIL")
        self._record(trial.number, ended.state, trial.params, found or (), ended.error, ended.value)

    def _on_reject(self, number, level, params, error):
        assert level == self.levels[number % len(self.levels)]
        self._record(number, "FAIL", params, (), error, None)

    def _record(self, number, state, params, found, error, value):
        assert number not in self.ended  # a trial ends once
        assert (error is None) == (state != "FAIL")
        self.ended[number] = {
            "state": state,
            "params": params,
            "objectives": found,
            "error": error,
            "value": value,
        }
        self.kept.pop(number, None)
        self._break("ended")

    def _break(self, where):
        if self.crash_at == where:
            raise Crash

    def _breakable(self, space):
        """The space; when it is to break off, it does so after it asked for its first parameter."""

        def breaking(suggest, level, profile):
            if self.crash_at == "asked":
                space.configure(_FirstAlone(suggest), level, profile)
            return space.configure(suggest, level, profile)

        return replace(space, configure=breaking)


class _FirstAlone:
    """Lets one parameter be asked for."""

    def __init__(self, suggest):
        self._suggest, self._asked = suggest, False

    def suggest_categorical(self, *args, **options):
        return self._once(self._suggest.suggest_categorical, *args, **options)

    def suggest_float(self, *args, **options):
        return self._once(self._suggest.suggest_float, *args, **options)

    def _once(self, suggest, *args, **options):
        if self._asked:
            raise Crash
        self._asked = True
        return suggest(*args, **options)


def as_told(trial):
    """What Optuna's samplers and its dashboard see of a trial."""
    values = None if trial.values is None else list(trial.values)
    return trial.state.name, trial.params, trial.distributions, values, trial.intermediate_values, trial.user_attrs


def check_run_that_came_to_its_end(search):
    """What holds of every search, whatever happened on its way."""
    assert sorted(search.ended) == list(range(search.n_trials))
    assert search.book.failure is None
    assert not search.book.open
    assert not search.book.wants_room
    assert search.ask() is None
    n_repeated = sum(search.trained.values()) - sum(map(len, search.shown.values()))
    assert 0 <= n_repeated <= search.may_repeat
    for level, trials in search.in_optuna().items():
        assert len(trials) == search.n_trials // len(search.levels)
        for trial in trials:
            check_trial(search, search.levels.index(level) + trial.number * len(search.levels), trial)
        firsts = search.space.first_points(level, PROFILE)
        for index, first in enumerate(firsts[: len(trials)]):
            assert [trial.number for trial in trials if trial.params == first] == [index]


def check_trial(search, number, trial):
    """Record and Optuna agree on a trial that ended."""
    ended = search.ended[number]
    shown = [value for _, value in search.shown.get(number, ())]
    assert trial.state.name == ended["state"] in ENDS
    assert trial.params == ended["params"]
    assert trial.user_attrs.get("error") == ended["error"]
    reported = list(trial.intermediate_values.values())
    if search.several:
        assert not reported
    else:
        assert list(trial.intermediate_values) == list(range(1, len(reported) + 1))
        # One that goes on from an old checkpoint may be stopped before it is where it was.
        assert reported[: len(shown)] == shown
        assert search.keep_every > 1 or ended["state"] == "FAIL" or len(reported) == len(shown)
    if ended["state"] == "COMPLETE":
        assert tuple(trial.values) == ended["objectives"]
        assert len(shown) == FOLDS * EPOCHS
    if ended["state"] == "PRUNED" and not search.several:
        assert trial.values == [reported[-1]]
    if ended["state"] == "FAIL":
        assert trial.values is None
