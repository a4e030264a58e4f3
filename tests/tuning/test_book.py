import random
import time
from itertools import product

import pytest
from book_harness import (
    EPOCHS,
    FIRST,
    FOLDS,
    LEVELS,
    PROFILE,
    Crash,
    Search,
    check_run_that_came_to_its_end,
    configure,
    make_space,
    numbers_space,
    rates,
)

from search.space import Space

CRASHES = ("asked", "recorded", "stepped", "ended")


def no_first_points():
    return make_space(first_points=lambda level, profile: ())


class Accidents:
    """Befall a search by chance; how often, depends on the seed."""

    ERRORS = ("OSError: its images are gone", "its worker died, twice")

    def __init__(self, search, seed):
        self.search, self.chance = search, random.Random(seed)
        self.slots = self.chance.randint(1, 5)
        self.errors, self.losses, self.restarts, self.crashes, self.journals_lost = (
            self.chance.choice(rates) for rates in ((0, 0, 0.02), (0, 0.05), (0, 0.03), (0, 0.1), (0, 0, 0.02))
        )
        self.lost_journal = False

    def run(self):
        """To the end; False when the search took its failures for hopeless."""
        search, chance = self.search, self.chance
        for _ in range(3000):
            if chance.random() < self.crashes:
                search.crash_at = chance.choice(CRASHES)
            try:
                while len(search.running) < self.slots and search.ask() is not None:
                    pass
                if not search.running:
                    return search.book.failure is None
                self._go_on(chance.choice(list(search.running)))
            except Crash:
                search.restart()
        raise AssertionError("the search does not end")

    def _go_on(self, number):
        search, chance = self.search, self.chance
        if chance.random() < self.errors:
            search.end(number, self.ERRORS[0])
        elif chance.random() < self.losses:
            search.lose(number)
        elif chance.random() < self.restarts:
            search.restart()
        elif chance.random() < self.journals_lost:
            search.restart(journal_lost=True)
            self.lost_journal = True
        else:
            search.advance(number)


def check_levels(search):
    """A level is left without a complete trial only if one of its trials failed."""
    for index, level in enumerate(search.levels):
        states = [state for number, state in search.states().items() if number % len(search.levels) == index]
        assert "COMPLETE" in states or "FAIL" in states, level


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("sampler", "pruner", "several"),
    [
        *product(("tpe", "random"), ("race", "asha", "none"), (False, True)),
        ("nsga2", "race", True),
        ("cmaes", "race", False),
    ],
)
def test_whatever_happens_every_trial_ends_once(tmp_path, sampler, pruner, several, seed):
    seed = f"{sampler} {pruner} {several} {seed}"
    chance = random.Random(seed)
    spaces = (numbers_space,) if sampler == "cmaes" else (make_space, no_first_points)
    search = Search(
        tmp_path / "optuna.journal",
        seed=chance.randrange(100),
        keep_every=chance.choice((1, 1, 2, 4)),
        sampler=sampler,
        pruner=pruner,
        several=several,
        space=chance.choice(spaces)(),
    )
    accidents = Accidents(search, seed)
    while not accidents.run():
        accidents.errors = accidents.losses = 0.0  # the cause is mended
        search.restart()
    check_run_that_came_to_its_end(search)
    assert {ended["error"] for ended in search.ended.values()} <= {None, *accidents.ERRORS}
    # Halving weighs a trial against those that were stopped, also by one that a lost journal made begin anew.
    if pruner != "asha" or not accidents.lost_journal:
        check_levels(search)
    if not (accidents.losses or accidents.restarts or accidents.crashes or accidents.lost_journal):
        assert search.given == sorted(search.ended)
    search.restart()
    check_run_that_came_to_its_end(search)
    search.restart(journal_lost=True)
    check_run_that_came_to_its_end(search)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("seed", range(4))
def test_restarts_change_no_parameters_and_no_ends(tmp_path, sampler, seed):
    once = Search(tmp_path / "once.journal", seed=seed, sampler=sampler).run()
    broken = Search(tmp_path / "broken.journal", seed=seed, sampler=sampler)
    chance = random.Random(seed)
    while (trial := broken.ask()) is not None:
        while trial.number in broken.running:
            fate = chance.random()
            broken.crash_at = chance.choice(CRASHES[1:]) if fate < 0.1 else None
            try:
                if 0.1 < fate < 0.15:
                    broken.restart()
                elif 0.15 < fate < 0.2:
                    broken.restart(journal_lost=True)
                elif 0.2 < fate < 0.25 and not broken.book.wants_room:
                    broken.lose(trial.number)
                    assert broken.ask().number == trial.number
                else:
                    broken.advance(trial.number)
            except Crash:
                broken.restart()
    check_run_that_came_to_its_end(broken)
    assert broken.ended == once.ended


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_same_seed_and_results_give_the_same_parameters(tmp_path, sampler):
    once = Search(tmp_path / "once.journal", seed=1, sampler=sampler).run()
    again = Search(tmp_path / "again.journal", seed=1, sampler=sampler).run()
    other = Search(tmp_path / "other.journal", seed=2, sampler=sampler).run()
    assert once.ended == again.ended
    assert once.params() != other.params()


@pytest.mark.parametrize("pruner", ["race", "asha", "none"])
def test_trials_are_stopped_early_where_that_is_wanted(tmp_path, pruner):
    search = Search(tmp_path / "optuna.journal", pruner=pruner).run()
    check_run_that_came_to_its_end(search)
    assert ("PRUNED" in search.states().values()) == (pruner != "none")


def test_a_space_without_a_factor(tmp_path):
    space = Space(
        question="own?",
        configure=lambda suggest, level, profile: configure(suggest, "1", profile),
        first_points=lambda level, profile: (FIRST,),
    )
    search = Search(tmp_path / "optuna.journal", n_trials=5, space=space).run()
    check_run_that_came_to_its_end(search)


@pytest.mark.parametrize("n_epochs", range(FOLDS * EPOCHS + 1))
def test_a_lost_trial_goes_on_from_its_checkpoint(tmp_path, n_epochs):
    search = Search(tmp_path / "optuna.journal", keep_every=2)
    before = [search.ask() for _ in range(3)]
    for _ in range(n_epochs):
        search.advance(1)
    kept = search.kept.get(1, 0)
    assert kept == min(n_epochs // 2 * 2, 4)  # after the last epoch nothing is left to go on to
    assert not search.book.wants_room
    search.lose(1)
    assert sorted(search.book.open) == [0, 2]
    assert search.book.wants_room
    again = search.ask()  # before the trials that nobody has begun
    assert (again.number, again.params, again.configuration) == (1, before[1].params, before[1].configuration)
    assert (again.again, again.epochs) == (True, kept)
    assert search.book.wants_room
    assert search.ask().number == 3
    search.finish(1)
    assert not search.book.wants_room
    assert search.states()[1] == "COMPLETE"
    assert search.trained[1] == FOLDS * EPOCHS + n_epochs - kept
    check_run_that_came_to_its_end(search.run())


def test_a_trial_that_is_lost_twice_has_failed(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    search.ask()
    search.lose(0)
    search.ask()
    search.advance(0)
    search.lose(0, "its worker died: oom")
    assert search.ended[0]["state"] == "FAIL"
    assert search.ended[0]["error"] == "its worker died: oom, twice"
    assert not search.book.wants_room
    assert search.ask().number == 1
    check_run_that_came_to_its_end(search.run())


def test_a_worker_that_is_lost_before_it_begins_does_not_count(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for _ in range(3):
        assert search.ask().number == 0
        search.lose(0, began=False)
        assert not search.book.wants_room
    check_run_that_came_to_its_end(search.run())
    assert search.ended[0]["state"] == "COMPLETE"


def test_lost_trials_come_before_what_an_earlier_run_left(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for number in range(4):
        search.ask()
        search.advance(number)
    search.restart()
    assert search.ask().number == 0
    assert search.ask().number == 1
    search.lose(1)
    assert search.book.wants_room
    assert [search.ask().number for _ in range(4)] == [1, 2, 3, 4]
    check_run_that_came_to_its_end(search.run())


def test_all_trials_can_be_lost_at_once(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for number in range(4):
        search.ask()
        search.advance(number)
    for number in range(4):
        search.lose(number)
    assert not search.book.open
    for _ in range(4):
        assert search.book.wants_room
        search.finish(search.ask().number)
    assert not search.book.wants_room
    assert sorted(search.ended) == [0, 1, 2, 3]
    check_run_that_came_to_its_end(search.run())


def test_a_finished_rival_still_counts_after_a_restart(tmp_path):
    search = Search(tmp_path / "optuna.journal", n_trials=2, space=rates(level_1=(0.1, 0.001)))
    search.finish(search.ask().number)
    search.restart()
    search.run()
    assert search.states() == {0: "COMPLETE", 1: "PRUNED"}


def test_a_broken_trial_is_stopped_by_another_level(tmp_path):
    # Four trials for each level: at level 1 another can still come to its end.
    space = rates(level_none=(0.1,), level_1=(0.001,))
    search = Search(tmp_path / "optuna.journal", n_trials=8, space=space)
    search.finish(search.ask().number)
    search.finish(search.ask().number)
    assert search.states() == {0: "COMPLETE", 1: "PRUNED"}
    check_run_that_came_to_its_end(search.run())
    check_levels(search)


@pytest.mark.parametrize("restarted", [False, True])
def test_the_last_chance_of_a_level_is_not_measured_by_others(tmp_path, restarted):
    space = rates(level_none=(0.1, 0.1), level_1=(0.001, 0.0011))
    search = Search(tmp_path / "optuna.journal", n_trials=4, space=space)
    for _ in range(3):
        search.finish(search.ask().number)
    assert search.ask().number == 3
    search.advance(3)
    if restarted:
        search.restart()
    search.run()
    assert search.states() == {0: "COMPLETE", 1: "PRUNED", 2: "COMPLETE", 3: "COMPLETE"}


@pytest.mark.parametrize("failed", [False, True])
def test_of_two_last_chances_one_is_left(tmp_path, failed):
    space = rates(level_none=(0.1, 0.1), level_1=(0.001, 0.0011))
    search = Search(tmp_path / "optuna.journal", n_trials=4, space=space)
    search.finish(search.ask().number)
    trials = [search.ask().number for _ in range(3)]
    assert trials == [1, 2, 3]
    if failed:
        search.end(1, "OSError: no")
    search.run()
    assert search.states()[1] == ("FAIL" if failed else "PRUNED")
    assert search.states()[3] == "COMPLETE"


def test_a_trial_that_is_being_stopped_is_no_chance_of_its_level(tmp_path):
    space = rates(level_none=(0.1, 0.1), level_1=(0.001, 0.0011))
    search = Search(tmp_path / "optuna.journal", n_trials=4, space=space)
    search.finish(search.ask().number)
    for _ in range(3):
        search.ask()
    # Both are told to stop, or not, before either has ended.
    stopped = {number: False for number in (1, 3)}
    for _ in range(FOLDS * EPOCHS - 1):
        for number in stopped:
            if not stopped[number]:
                stopped[number] = search.book.step(number, next(search.running[number]))
    assert sorted(stopped.values()) == [False, True]


def test_a_rival_of_the_own_level_stops_also_its_last_trial(tmp_path):
    search = Search(tmp_path / "optuna.journal", n_trials=2, space=rates(level_1=(0.1, 0.001))).run()
    assert search.states() == {0: "COMPLETE", 1: "PRUNED"}


@pytest.mark.parametrize("restarted", [False, True])
def test_after_the_deadline_only_levels_without_a_complete_trial_go_on(tmp_path, restarted):
    search = Search(tmp_path / "optuna.journal", deadline=time.monotonic() - 1)
    trials = [search.ask() for _ in range(4)]
    assert [trial and trial.level for trial in trials] == [*LEVELS, None]
    for number in (0, 1):
        search.finish(number)
    assert search.ask() is None
    search.end(2, "lost")
    if restarted:
        search.restart()
    again = search.ask()
    assert (again.number, again.level) == (5, LEVELS[2])
    assert search.ask() is None
    search.finish(5)
    assert search.ask() is None
    assert sorted(search.ended) == [0, 1, 2, 5]
    # With more time, the search goes on with what was passed over.
    search.options = {}
    search.restart(journal_lost=restarted)
    check_run_that_came_to_its_end(search.run())


def test_the_deadline_comes_in_the_middle(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("search.tuning.book.time.monotonic", lambda: now)
    search = Search(tmp_path / "optuna.journal", deadline=200.0)
    search.finish(search.ask().number)
    assert search.ask().number == 1
    now = 201.0
    assert search.ask().number == 2
    assert search.ask() is None


def test_after_the_deadline_a_level_keeps_its_last_chance(tmp_path):
    space = rates(level_none=(0.1,), level_1=(0.001, 0.001))
    search = Search(tmp_path / "optuna.journal", n_trials=8, space=space, deadline=time.monotonic() - 1).run()
    assert search.states() == {0: "COMPLETE", 1: "COMPLETE"}


@pytest.mark.parametrize("journal_lost", [False, True])
def test_search_fails_when_the_first_several_fail(tmp_path, journal_lost):
    search = Search(tmp_path / "optuna.journal")
    for number in range(3):
        assert search.book.failure is None
        assert search.ask().number == number
        search.end(number, f"OSError: reason {number}")
    assert search.book.failure == "trial 0: OSError: reason 0"
    assert search.ask() is None
    # Once the cause is mended, the study goes on.
    search.restart(journal_lost=journal_lost)
    assert search.book.failure is None
    assert search.ask().number == 3
    check_run_that_came_to_its_end(search.run())


def test_search_goes_on_when_one_of_the_first_is_good(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for number in range(6):
        search.ask()
        if number == 1:
            search.finish(number)
        else:
            search.end(number, "OSError: no")
    assert search.book.failure is None
    check_run_that_came_to_its_end(search.run())


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
    assert (search.ended[0]["state"], search.ended[0]["error"]) == ("FAIL", "its worker was lost")


def test_an_error_after_the_last_epoch_is_a_failure_still(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    search.ask()
    for _ in range(FOLDS * EPOCHS):
        search.advance(0)
    search.end(0, "its worker died")
    assert search.states() == {0: "FAIL"}


@pytest.mark.parametrize("several", [False, True])
def test_parameters_that_make_no_network_end_their_trial_alone(tmp_path, several):
    def picky(suggest, level, profile):
        configuration = configure(suggest, level, profile)
        if configuration.training.lr < 0.02:
            raise ValueError("input_px=24 is too small")
        return configuration

    search = Search(tmp_path / "optuna.journal", space=make_space(configure=picky), several=several).run()
    check_run_that_came_to_its_end(search)
    rejected = [ended for ended in search.ended.values() if ended["state"] == "FAIL"]
    assert rejected
    assert all(ended["error"] == "ValueError: input_px=24 is too small" for ended in rejected)
    assert not any(number in search.given for number, state in search.states().items() if state == "FAIL")
    assert PROFILE.lr[0] <= min(ended["params"]["lr"] for ended in rejected) < 0.02
    search.restart(journal_lost=True)
    check_run_that_came_to_its_end(search)
