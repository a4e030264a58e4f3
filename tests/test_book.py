import math
import random
import time
from dataclasses import dataclass

import numpy as np
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search.metrics import METRIC_NAMES, Metrics
from search.space import Configuration, FixedSuggester, Profile, Space, TrainingConfig
from search.training import EpochResult, Normalisation
from search.trial import EpochScore, FoldScore, TrialStep
from search.tuning.book import TrialBook
from wbcmodels.config import ModelConfig

LEVELS = ("none", "1", "2")
EPOCHS, FOLDS = 3, 2
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


def configure(suggest, level, profile):
    norm = suggest.suggest_categorical("norm", ("batch", "group"))
    dropout = suggest.suggest_float("group_dropout", 0.0, 0.5) if norm == "group" else 0.0
    return Configuration(
        model=ModelConfig(placement=level, norm=norm, dropout=dropout, width=profile.width, input_px=24),
        training=TrainingConfig(epochs=profile.epochs, lr=suggest.suggest_float("lr", *profile.lr, log=True)),
    )


def make_space(**changes):
    given = {"levels": LEVELS, "configure": configure, "first_points": lambda level, profile: (FIRST,)}
    return Space(question="own?", factor="placement", **(given | changes))


def metrics(value):
    return Metrics(**dict.fromkeys(METRIC_NAMES, value))


def steps(configuration, folds=FOLDS):
    """The steps of a trial: the higher its rate, the better it is, by enough for some to be stopped."""
    quality = 1 + math.log10(configuration.training.lr) / 3  # from 0 to 2/3
    n_epochs = configuration.training.epochs
    for fold in range(folds):
        for epoch in range(1, n_epochs + 1):
            value = quality * epoch / n_epochs
            last = epoch == n_epochs
            training = EpochResult(epoch=epoch, lr=0.1, train_loss=1.0, train_accuracy=0.5, train_s=0.25)
            fold_score = FoldScore(
                n_train=10,
                n_val=5,
                metrics=metrics(value),
                probabilities=np.empty((0, 2)),
                normalisation=Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
                train_s=0.5,
                wall_s=0.5,
                weights=None,
            )
            yield TrialStep(
                fold=fold,
                epoch=EpochScore(training=training, validation=metrics(value)),
                fold_score=fold_score if last else None,
                pooled=metrics(quality) if last and fold == folds - 1 else None,
            )


@dataclass
class Rejected:
    """A trial whose parameters made no network."""

    state: str
    value: None
    error: str


class Crash(Exception):
    """Of the process, between the study's record and Optuna's."""


class Search:
    """A book with what the study keeps on record of it."""

    def __init__(self, journal, n_trials=12, seed=0, **options):
        self.journal, self.n_trials, self.seed, self.options = journal, n_trials, seed, options
        self.ended = {}
        self.running = {}
        self.started = []
        self.crash_at = None
        self.restart()

    def restart(self):
        """Throw the book away, and go on with what is on record."""
        self.running = {}
        given = {"space": make_space(), "profile": PROFILE, "metric": METRIC, "n_trials": self.n_trials}
        self.book = TrialBook(
            journal=self.journal,
            seed=self.seed,
            on_end=self._on_end,
            on_reject=self._on_reject,
            ended={number: (ended.state, ended.value) for number, ended in self.ended.items()},
            **(given | self.options),
        )

    def _on_reject(self, number, level, params, error):
        assert number not in self.ended
        self.ended[number] = Rejected(state="FAIL", value=None, error=error)

    def ask(self):
        trial = self.book.ask()
        if trial is not None:
            self.running[trial.number] = steps(trial.configuration)
            self.started.append(trial)
        return trial

    def advance(self, number):
        """One step of a trial; to its end, if that was the last one."""
        step = next(self.running[number], None)
        if step is None or self.book.step(number, step):
            self.end(number)

    def end(self, number, error=None):
        del self.running[number]
        self.book.end(number, error)

    def run(self):
        """One trial after another, to the end."""
        while (trial := self.ask()) is not None:
            while trial.number in self.running:
                self.advance(trial.number)
        return self

    def params(self):
        return {number: ended.trial.params for number, ended in self.ended.items()}

    def _on_end(self, ended):
        assert ended.trial.number not in self.ended
        self.ended[ended.trial.number] = ended
        if self.crash_at == ended.trial.number:
            self.crash_at = None
            raise Crash


def optuna_trials(journal, levels=LEVELS):
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return {
        level: optuna.load_study(study_name=f"level {level}", storage=storage).get_trials() for level in levels
    }


def check_run_that_came_to_its_end(search, levels=LEVELS):
    """What holds of every search, whatever happened on its way."""
    n_trials = search.n_trials
    assert sorted(search.ended) == list(range(n_trials))
    assert search.book.failure is None
    assert not search.book.open
    in_optuna = optuna_trials(search.journal, levels)
    for level, trials in in_optuna.items():
        assert len(trials) == n_trials // len(levels)
        for trial in trials:
            ended = search.ended[search.book.number(level, trial.number)]
            assert ended.trial.level == level
            assert trial.state.name == ended.state
            assert trial.params == ended.trial.params
            assert configure(FixedSuggester(trial.params), level, PROFILE) == ended.trial.configuration
            reported = list(trial.intermediate_values.values())
            assert (ended.error is None) == (ended.state != "FAIL")
            assert (ended.value is None) == (ended.state == "FAIL")
            assert trial.user_attrs.get("error") == ended.error
            if ended.state == "COMPLETE":
                assert ended.trial.folds_done == FOLDS
                assert ended.trial.last.pooled is not None
                assert ended.value == trial.value == ended.trial.last.pooled.accuracy
                assert ended.trial.epochs == len(reported) == FOLDS * EPOCHS
            if ended.state == "PRUNED":
                assert ended.trial.last.pooled is None
                # One that is run again after a restart may be stopped before it is where it was.
                assert 1 <= ended.trial.epochs <= len(reported)
                assert ended.trial.epochs < FOLDS * EPOCHS
                finals = [values[-1] for values in ended.trial.progress.values]
                assert ended.value == pytest.approx(sum(finals) / len(finals))
            assert ended.trial.train_s == 0.25 * ended.trial.epochs
            assert ended.trial.started <= ended.completed
    # Each level's first trial, and no other, is the space's first point.
    first = [number for number, params in sorted(search.params().items()) if params == FIRST]
    assert first == list(range(len(levels)))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_trial_ends_once(tmp_path, seed):
    chance = random.Random(seed)
    slots = chance.randint(1, 4)
    errors = chance.choice([0.0, 0.0, 0.02])
    restarts = chance.choice([0.0, 0.03, 0.1])
    search = Search(tmp_path / "optuna.journal", seed=seed)
    for _ in range(3000):
        while len(search.running) < slots and search.ask() is not None:
            pass
        if not search.running:
            break
        number = chance.choice(list(search.running))
        fate = chance.random()
        if fate < errors:
            search.end(number, "its worker died: oom")
        elif fate < errors + restarts / 2:
            search.restart()
        elif fate < errors + restarts:
            search.crash_at = number
            try:
                while number in search.running:
                    search.advance(number)
            except Crash:
                search.restart()
        else:
            search.advance(number)
    check_run_that_came_to_its_end(search)
    states = [ended.state for ended in search.ended.values()]
    if "FAIL" not in states:
        complete = {ended.trial.level for ended in search.ended.values() if ended.state == "COMPLETE"}
        assert complete == set(LEVELS)
    if not restarts:
        assert [trial.number for trial in search.started] == sorted(search.ended)
    search.restart()
    assert search.ask() is None


def test_trials_are_stopped_and_can_be_kept_from_it(tmp_path):
    raced = Search(tmp_path / "raced.journal").run()
    assert "PRUNED" in {ended.state for ended in raced.ended.values()}
    whole = Search(tmp_path / "whole.journal", racing=False).run()
    assert {ended.state for ended in whole.ended.values()} == {"COMPLETE"}
    for search in (raced, whole):
        check_run_that_came_to_its_end(search)


def test_a_space_without_a_factor(tmp_path):
    space = Space(
        question="own?",
        configure=lambda suggest, level, profile: configure(suggest, "1", profile),
        first_points=lambda level, profile: (FIRST,),
    )
    search = Search(tmp_path / "optuna.journal", n_trials=5, space=space).run()
    assert sorted(search.ended) == list(range(5))
    assert {ended.trial.level for ended in search.ended.values()} == {"all"}


def test_random_start_is_the_same_for_all_levels(tmp_path):
    search = Search(tmp_path / "optuna.journal", n_trials=18).run()
    params = search.params()
    startup = 6 // 2
    for index in range(startup):
        assert params[3 * index] == params[3 * index + 1] == params[3 * index + 2]
    assert len({str(params[3 * index]) for index in range(startup)}) == startup
    later = [str(params[number]) for number in range(3 * startup, 18)]
    assert len(set(later)) == len(later)


def test_random_start_is_the_same_in_parallel(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    trials = [search.ask() for _ in range(6)]
    assert trials[0].params == trials[1].params == trials[2].params == FIRST
    assert trials[3].params == trials[4].params == trials[5].params != FIRST


@pytest.mark.parametrize("seed", range(2))
def test_same_seed_and_results_give_the_same_parameters(tmp_path, seed):
    once = Search(tmp_path / "once.journal", seed=seed).run()
    again = Search(tmp_path / "again.journal", seed=seed).run()
    other = Search(tmp_path / "other.journal", seed=seed + 10).run()
    assert once.params() == again.params()
    assert once.params() != other.params()


@pytest.mark.parametrize("seed", range(2))
def test_restarts_change_no_parameters_and_no_ends(tmp_path, seed):
    once = Search(tmp_path / "once.journal", seed=seed).run()
    broken = Search(tmp_path / "broken.journal", seed=seed)
    chance = random.Random(seed)
    while (trial := broken.ask()) is not None:
        while trial.number in broken.running:
            if chance.random() < 0.05:
                broken.restart()
                break
            broken.advance(trial.number)
    assert broken.params() == once.params()
    for number, ended in once.ended.items():
        assert (broken.ended[number].state, broken.ended[number].value) == (ended.state, ended.value)


def test_a_trial_that_is_run_again_has_its_number_and_parameters(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    before = [search.ask() for _ in range(4)]
    for _ in range(2):
        search.advance(2)
    search.restart()
    after = [search.ask() for _ in range(4)]
    assert {trial.number: trial.params for trial in after} == {trial.number: trial.params for trial in before}
    assert {trial.number: trial.configuration for trial in after} == {
        trial.number: trial.configuration for trial in before
    }
    assert all(trial.epochs == 0 and trial.last is None for trial in after)
    while search.running:
        search.advance(next(iter(search.running)))
    search.run()
    check_run_that_came_to_its_end(search)


def test_a_trial_on_record_is_told_and_not_run_again(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    search.ask()
    search.crash_at = 0
    for _ in range(FOLDS * EPOCHS):
        search.advance(0)
    with pytest.raises(Crash):
        search.advance(0)
    assert optuna_trials(search.journal)["none"][0].state == TrialState.RUNNING
    search.restart()
    told = optuna_trials(search.journal)["none"][0]
    assert (told.state, told.value) == (TrialState.COMPLETE, search.ended[0].value)
    search.run()
    assert [trial.number for trial in search.started].count(0) == 1
    check_run_that_came_to_its_end(search)


def test_a_finished_rival_still_counts_after_a_restart(tmp_path):
    space = make_space(levels=("1",), first_points=lambda *_: ({**FIRST, "lr": 0.1}, {**FIRST, "lr": 0.001}))
    search = Search(tmp_path / "optuna.journal", n_trials=2, space=space)
    search.ask()
    while 0 in search.running:
        search.advance(0)
    search.restart()
    search.run()
    assert search.ended[1].state == "PRUNED"


def test_an_ended_search_can_be_extended(tmp_path):
    search = Search(tmp_path / "optuna.journal").run()
    first = search.params()
    search.n_trials = 18
    search.restart()
    search.run()
    check_run_that_came_to_its_end(search)
    assert {number: search.params()[number] for number in first} == first


@pytest.mark.parametrize("restarted", [False, True])
def test_after_the_deadline_only_levels_without_a_complete_trial_go_on(tmp_path, restarted):
    search = Search(tmp_path / "optuna.journal", deadline=time.monotonic() - 1)
    trials = [search.ask() for _ in range(4)]
    assert [trial and trial.level for trial in trials] == [*LEVELS, None]
    for number in (0, 1):
        while number in search.running:
            search.advance(number)
    assert search.ask() is None
    search.end(2, "lost")
    if restarted:
        search.restart()
    again = search.ask()
    assert (again.number, again.level) == (5, LEVELS[2])
    assert search.ask() is None
    while 5 in search.running:
        search.advance(5)
    assert search.ask() is None
    assert sorted(search.ended) == [0, 1, 2, 5]
    # With more time, the search goes on with what was passed over.
    search.options = {}
    search.restart()
    search.run()
    check_run_that_came_to_its_end(search)


def test_the_deadline_comes_in_the_middle(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("search.tuning.book.time.monotonic", lambda: now)
    search = Search(tmp_path / "optuna.journal", deadline=200.0)
    trial = search.ask()
    while trial.number in search.running:
        search.advance(trial.number)
    assert search.ask().number == 1
    now = 201.0
    assert search.ask().number == 2
    assert search.ask() is None


def test_search_fails_when_the_first_several_fail(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for number in range(3):
        assert search.book.failure is None
        assert search.ask().number == number
        search.end(number, f"OSError: reason {number}")
    assert search.book.failure == "trial 0: OSError: reason 0"
    assert search.ask() is None
    assert [ended.error for ended in search.ended.values()] == [f"OSError: reason {number}" for number in range(3)]
    for level, trials in optuna_trials(search.journal).items():
        failed = [trial for trial in trials if trial.state == TrialState.FAIL]
        assert len(failed) == 1
        assert failed[0].user_attrs["error"] == f"OSError: reason {LEVELS.index(level)}"
    # Once the cause is mended, the study goes on.
    search.restart()
    assert search.book.failure is None
    assert search.ask().number == 3


def test_search_goes_on_when_one_of_the_first_is_good(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for number in range(6):
        search.ask()
        if number == 1:
            while number in search.running:
                search.advance(number)
        else:
            search.end(number, "OSError: no")
    assert search.book.failure is None
    assert search.ask() is not None


def test_few_trials_that_all_fail_are_a_failure(tmp_path):
    search = Search(tmp_path / "optuna.journal", n_trials=2, space=make_space(levels=("none", "1")))
    for number in range(2):
        search.ask()
        search.end(number, "no")
    assert search.book.failure == "trial 0: no"


def test_a_trial_that_just_ends_has_failed(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    search.ask()
    search.advance(0)
    search.end(0)
    assert (search.ended[0].state, search.ended[0].value) == ("FAIL", None)
    assert search.ended[0].error == "its worker was lost"


def test_an_error_after_the_last_epoch_is_a_failure_still(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    search.ask()
    for _ in range(FOLDS * EPOCHS):
        search.advance(0)
    search.end(0, "its worker died")
    assert search.ended[0].state == "FAIL"


def test_numbers_go_round_the_levels(tmp_path):
    book = Search(tmp_path / "optuna.journal").book
    numbers = [book.number(level, index) for index in range(4) for level in LEVELS]
    assert numbers == list(range(12))


def test_parameters_that_make_no_network_end_their_trial_alone(tmp_path):
    def picky(suggest, level, profile):
        configuration = configure(suggest, level, profile)
        if configuration.training.lr < 0.02:
            raise ValueError("input_px=24 is too small")
        return configuration

    search = Search(tmp_path / "optuna.journal", space=make_space(configure=picky)).run()
    assert sorted(search.ended) == list(range(12))
    assert any("too small" in (ended.error or "") for ended in search.ended.values())
