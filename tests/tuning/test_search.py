"""Searches whose trainings take no time: what holds whatever happens to them."""

import os
import random
from dataclasses import replace

import pytest
from simulated_search import (
    EPOCHS,
    FIRST,
    FOLDS,
    LEVELS,
    assert_same,
    check_finished,
    check_tables,
    configuration_of,
    configure,
    configure_numbers,
    make_space,
    rates,
)

from search.tuning.failures import Failure

LOST = Failure("its worker was lost", retry=True)
numbers_space = make_space(configure=configure_numbers, first_points=lambda *_: ({"dropout": 0.1, "lr": 0.05},))


class Killed(BaseException):
    """Ends the process; nothing that catches an error catches it."""


@pytest.fixture
def kill(monkeypatch):
    """Kills the process at its n-th write from now, once the bytes are in the file."""
    left = [0]

    def fsync(descriptor):
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(os, "fsync", fsync)  # no power fails while tests run, so nothing is lost without it
    return lambda n: left.__setitem__(0, n)


@pytest.fixture(autouse=True)
def quick_disk(kill):
    """Tests write thousands of times."""


@pytest.mark.parametrize(
    ("sampler", "pruner", "remainder"),
    [("random", "race", 0), ("tpe", "asha", 1), ("random", "race", 2), ("tpe", "race", 3)],
)
def test_a_search_killed_at_any_write_of_a_training_resumes_exactly(make_search, kill, sampler, pruner, remainder):
    options = {"n_trials": 6, "seed": 1, "sampler": sampler, "pruner": pruner}
    once = make_search("once", **options).run()
    broken = make_search("broken", **options)
    kills = 0
    while (trial := broken.ask()) is not None:
        while trial.number in broken.running:
            kill(1 + remainder + 4 * (kills % 4))
            try:
                broken.finish(trial.number)
            except Killed:
                kills += 1
                broken.restart()
                trial = broken.ask() or trial
            finally:
                kill(0)
    assert kills > 4
    check_finished(broken)
    assert not list(once.folder.path.glob("checkpoints/*"))
    assert_same(once, broken)
    assert broken.told() == once.told()
    assert once.trained == len(once.table("epochs"))
    assert broken.trained <= once.trained + kills


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("sampler", "pruner", "several"),
    [("tpe", "race", False), ("random", "asha", False), ("tpe", "none", True), ("nsga2", "race", True),
     ("cmaes", "race", False)],
)  # fmt: skip
def test_whatever_happens_every_trial_ends_once(make_search, kill, sampler, pruner, several, seed):
    chance = random.Random(f"{sampler} {pruner} {seed}")
    space = (
        numbers_space if sampler == "cmaes" else chance.choice((make_space(), make_space(first_points=no_points)))
    )
    search = make_search("study", space=space, sampler=sampler, pruner=pruner, several=several, seed=seed)
    journals_lost = 0
    while True:
        kill(chance.choice((3, 9) if chance.random() < 0.1 else (0,)))
        try:
            while len(search.running) < 3 and search.ask() is not None:
                pass
            if not search.running:
                break
            number, fate = chance.choice(list(search.running)), chance.random()
            if fate < 0.02:
                search.end(number, "OSError: its images are gone")
            elif fate < 0.06:
                search.fail(number, LOST)
            elif fate < 0.08:
                journals_lost += 1
                search.restart(journal_lost=True)
            else:
                search.advance(number)
        except Killed:
            kill(0)
            search.restart()
            check_tables(search)
        if search.trials.failure is not None:
            search.restart()  # the cause is gone
    kill(0)
    check_finished(search)
    for index, level in enumerate(space.levels):
        states = [state for number, state in search.states.items() if number % len(space.levels) == index]
        # asha also weighs a trial against those that were stopped, even one that starts over.
        assert "COMPLETE" in states or "FAIL" in states or (pruner == "asha" and journals_lost), level
    before = search.told()
    search.restart(journal_lost=True)
    assert search.told() == before
    check_finished(search)


def no_points(level, profile):
    return ()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_parameters_depend_on_the_seed_alone(make_search, sampler):
    one, same, other = (
        make_search(name, sampler=sampler, seed=seed).run()
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert_same(one, same)
    assert [one.params(n) for n in range(12)] != [other.params(n) for n in range(12)]


def test_a_trial_killed_while_it_is_asked_for_keeps_the_parameters_it_has(make_search, kill):
    search = make_search("study", space=make_space(first_points=no_points))
    kill(2)
    with pytest.raises(Killed):
        search.ask()
    kill(0)
    begun = search.in_optuna()["none"][0].params
    assert list(begun) == ["norm"]
    search.restart()
    assert search.ask().params.items() > begun.items()
    check_finished(search.run())


@pytest.mark.parametrize("pruner", ["race", "asha", "none"])
def test_trials_are_stopped_early_unless_told_otherwise(make_search, pruner):
    search = make_search("study", pruner=pruner).run()
    check_finished(search)
    assert ("PRUNED" in search.states.values()) == (pruner != "none")


def test_numbers_go_round_the_levels_and_random_draws_are_shared(make_search):
    search = make_search("study", space=make_space(first_points=no_points), n_trials=24)
    trials = [search.ask() for _ in range(12)]
    assert [trial.number for trial in trials] == list(range(12))
    assert [trial.level for trial in trials] == 4 * list(LEVELS)
    for start in range(0, 12, 3):
        assert trials[start].params == trials[start + 1].params == trials[start + 2].params
    assert list(search.in_optuna()) == list(LEVELS)


def test_a_space_without_a_factor(make_search):
    space = replace(make_space(), factor=None, levels=("1",))
    check_finished(make_search("study", n_trials=5, space=space).run())


# Losses


@pytest.mark.parametrize("n_epochs", range(FOLDS * EPOCHS))
def test_a_lost_trial_resumes_from_its_checkpoint_with_one_trial_fewer_beside_it(make_search, n_epochs):
    search = make_search("study", pruner="none")
    before = [search.ask() for _ in range(3)]
    for _ in range(n_epochs):
        search.advance(1)
    search.fail(1, LOST)
    assert (search.trials.slots(3), search.trials.slots(1)) == (2, 1)
    again = search.ask()  # before new trials
    assert (again.number, again.params, again.epochs) == (1, before[1].params, n_epochs)
    assert search.trials.slots(3) == 2
    search.finish(1)
    assert search.trials.slots(3) == 3
    check_finished(search.run())
    assert search.trained == len(search.table("epochs"))


def test_a_trial_that_is_lost_twice_fails(make_search):
    search = make_search("study")
    for _ in range(2):
        assert search.ask().number == 0
        search.advance(0)
        search.fail(0, LOST)
    assert search.table("trials")["error"][0] == "its worker was lost, twice"
    check_finished(search.run())


def test_a_failure_that_more_memory_does_not_help_is_not_retried(make_search):
    search = make_search("study")
    search.ask()
    search.fail(0, Failure("DivergedError: no"))
    assert search.table("trials")["error"][0] == "DivergedError: no"
    check_finished(search.run())


def test_a_trial_that_never_started_may_be_given_out_again_and_again(make_search):
    search = make_search("study")
    for _ in range(3):
        assert search.ask().number == 0
        search.running.clear()
        search.trials.give_again(0)
        assert search.trials.slots(2) == 2
    check_finished(search.run())
    assert search.states[0] == "COMPLETE"


def test_a_damaged_checkpoint_is_reported_and_its_trial_starts_over(make_search):
    search = make_search("study")
    search.ask()
    for _ in range(4):
        search.advance(0)
    (file,) = search.folder.path.glob("checkpoints/*")
    file.write_bytes(b"junk")
    search.restart()
    assert search.ask().epochs == 0
    assert "search trial 0 none" in search.output.getvalue()
    assert "damaged" in search.output.getvalue()
    check_finished(search.run())


# Stops across levels, and the deadline


def test_a_broken_trial_is_stopped_by_another_level(make_search):
    space = rates(level_none=(0.1,), level_1=(0.001,))
    search = make_search("study", n_trials=8, space=space).run()
    assert (search.states[0], search.states[1]) == ("COMPLETE", "PRUNED")


@pytest.mark.parametrize("restarted", [False, True])
def test_the_last_chance_of_a_level_is_not_measured_by_others(make_search, restarted):
    space = rates(level_none=(0.1, 0.1), level_1=(0.001, 0.0011))
    search = make_search("study", n_trials=4, space=space)
    for _ in range(3):
        search.finish(search.ask().number)
    search.ask()
    search.advance(3)
    if restarted:
        search.restart()
    assert search.run().states == {0: "COMPLETE", 1: "PRUNED", 2: "COMPLETE", 3: "COMPLETE"}


@pytest.mark.parametrize("failed", [False, True])
def test_of_two_last_chances_that_run_together_one_is_left(make_search, failed):
    space = rates(level_none=(0.1, 0.1), level_1=(0.001, 0.0011))
    search = make_search("study", n_trials=4, space=space)
    search.finish(search.ask().number)
    for _ in range(3):
        search.ask()
    if failed:
        search.end(1, "OSError: no")
    search.run()
    assert (search.states[1], search.states[3]) == ("FAIL" if failed else "PRUNED", "COMPLETE")


@pytest.mark.parametrize("restarted", [False, True])
def test_after_the_deadline_only_levels_without_a_complete_trial_get_new_ones(make_search, restarted):
    search = make_search("study", time_budget="0.001s")
    assert [trial and trial.level for trial in [search.ask() for _ in range(4)]] == [*LEVELS, None]
    for number in (0, 1):
        search.finish(number)
    search.end(2, "OSError: no")
    if restarted:
        search.restart()
    again = search.ask()
    assert (again.number, again.level) == (5, LEVELS[2])
    assert search.ask() is None
    search.finish(5)
    assert search.ask() is None
    search.restart(journal_lost=restarted, time_budget=None)  # with more time, it continues with those left out
    check_finished(search.run())


# Failures


def test_a_search_whose_first_trials_all_fail_ends_and_can_be_resumed(make_search):
    search = make_search("study")
    for number in range(3):
        assert search.trials.failure is None
        search.ask()
        search.end(number, f"OSError: reason {number}")
    assert search.trials.failure == "trial 0: OSError: reason 0"
    assert search.ask() is None
    search.restart()
    assert search.trials.failure is None
    check_finished(search.run())


def test_one_complete_trial_shows_that_the_search_can_continue(make_search):
    search = make_search("study")
    for number in range(6):
        search.ask()
        if number == 1:
            search.finish(number)
        else:
            search.end(number, "OSError: no")
    assert search.trials.failure is None


@pytest.mark.parametrize("several", [False, True])
def test_parameters_that_make_no_network_end_their_trial_alone(make_search, several):
    def picky(suggest, level, profile):
        configuration = configure(suggest, level, profile)
        if configuration.training.lr < 0.02:
            raise ValueError("input_px=24 is too small")
        return configuration

    search = make_search("study", space=make_space(configure=picky), several=several).run()
    check_finished(search)
    rejected = search.table("trials").query("state == 'FAIL'")
    assert len(rejected)
    assert (rejected["error"] == "ValueError: input_px=24 is too small").all()
    assert not set(rejected["number"]) & set(search.given)
    before = search.told()
    search.restart(journal_lost=True)
    assert search.told() == before


# Extensions and changes


@pytest.mark.parametrize("journal_lost", [False, True])
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_finished_search_can_be_extended(make_search, sampler, journal_lost):
    points = tuple({"norm": "batch", "lr": lr} for lr in (0.05, 0.04, 0.03, 0.02, 0.01))
    space = make_space(first_points=lambda level, profile: points)
    search = make_search("study", sampler=sampler, space=space).run()
    first = search.table("trials")
    search.restart(journal_lost=journal_lost, trials=18)
    check_finished(search.run())
    assert search.table("trials")[: len(first)][first.columns].equals(first)
    assert search.given[12:] == list(range(12, 18))
    for index in range(3):
        assert [search.params(3 * number + index) for number in range(5)] == list(points)


def test_a_rebuilt_journal_keeps_the_numbers_of_unfinished_trials(make_search):
    search = make_search("study", n_trials=18)
    for _ in range(11):
        search.ask()
    for number in (1, 5, 7, 9, 10):
        search.finish(number)
    search.restart(journal_lost=True)
    assert {search.ask().number for _ in range(6)} == {0, 2, 3, 4, 6, 8}
    assert search.trials.open[0].params == search.trials.open[2].params == FIRST
    assert search.ask().number == 11
    check_finished(search.run())


@pytest.mark.filterwarnings("default:.* is out of the range:UserWarning")
@pytest.mark.parametrize("change", ["range", "choice", "gone", "raises"])
def test_a_changed_space_does_not_stop_a_forced_search(make_search, change):
    def original(suggest, level, profile):
        norm = suggest.suggest_categorical("norm", ("batch", "group"))
        return configuration_of(level, norm, 0.0, suggest.suggest_float("lr", 0.001, 0.1, log=True))

    def changed(suggest, level, profile):
        lr = suggest.suggest_float("lr", 0.01 if change == "range" else 0.001, 0.1, log=True)
        norm = suggest.suggest_categorical("norm", ("batch", "none") if change == "choice" else ("batch", "group"))
        dropout = suggest.suggest_float("drop", 0.0, 0.5) if change == "gone" else 0.0
        if change == "raises" and lr < 0.02:
            raise ValueError("no")
        return configuration_of(level, norm, dropout, lr)

    space = make_space(configure=original, first_points=no_points)
    search = make_search("study", space=space, pruner="none").run()
    states = search.states
    search.space = replace(space, configure=changed)
    search.restart(journal_lost=True, trials=18)
    search.run()
    assert {number: search.states[number] for number in states} == states
    assert sorted(search.states) == list(range(18))
    for trials in search.in_optuna().values():
        assert len(trials) == 6
        assert all(trial.state.is_finished() for trial in trials)
