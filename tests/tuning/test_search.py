"""Searches whose trainings take no time: what holds whatever happens to them."""

import os
import random
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from simulated_search import (
    EPOCHS,
    FIRST,
    LEVELS,
    assert_same,
    check_finished,
    check_tables,
    configuration_of,
    configure,
    configure_numbers,
    make_space,
    no_points,
    rates,
)

from search.records.journal import Journal
from search.tuning.failures import Failure

LOST = Failure("its worker was lost", retry=True)
SETTINGS = ("shared", "own")
numbers_space = make_space(configure=configure_numbers, first_points=lambda *_: ({"dropout": 0.1, "lr": 0.05},))


class Killed(BaseException):
    """Ends the process; nothing that catches an error catches it."""


@pytest.fixture
def kill(monkeypatch):
    """Kills the process at its n-th write from now, once the bytes are in the file."""
    left, append = [0], Journal.append

    def written(*_):
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def appended(self, entry):
        append(self, entry)
        written()

    monkeypatch.setattr(Journal, "append", appended)
    monkeypatch.setattr(os, "fsync", written)  # no power fails while tests run, so nothing is lost without it
    return lambda n: left.__setitem__(0, n)


@pytest.fixture(autouse=True)
def quick_disk(kill):
    """Tests write thousands of times."""


# What a setting is


def test_levels_share_what_they_ask_for_under_one_name_and_range(make_search):
    def configure(suggest, level, profile):
        lr = suggest.suggest_float("lr", *((0.001, 0.1) if level == "none" else (0.01, 0.1)), log=True)
        norm = suggest.suggest_categorical("norm", ("batch", "group"))
        dropout = suggest.suggest_float("dropout", 0.0, 0.5) if level == "2" else 0.0
        return configuration_of(level, norm, dropout, lr)

    search = make_search("study", space=make_space(configure=configure, first_points=no_points)).run()
    check_tables(search)
    for rows in search.settings(LEVELS):
        none, one, two = (row["params"] for row in rows)
        assert none["norm"] == one["norm"] == two["norm"]
        assert none["lr"] != one["lr"] == two["lr"]
        assert [set(params) for params in (none, one, two)] == [{"lr", "norm"}] * 2 + [{"lr", "norm", "dropout"}]
    before = search.told()
    search.restart(journal_lost=True)
    assert search.told() == before


def test_first_points_of_levels_are_merged(make_search):
    points = {
        "none": ({"norm": "batch", "lr": 0.05},),
        "1": ({"norm": "group", "lr": 0.05, "group_dropout": 0.1},),
    }
    space = make_space(first_points=lambda level, profile: points.get(level, ()))
    search = make_search("study", space=space).run()
    assert search.params(0) == search.params(1) == search.params(2) == FIRST


@pytest.mark.parametrize("n_levels", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_visit_every_level_before_a_second_fold(make_search, n_levels, seed):
    levels = ("none", "1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")[:n_levels]
    search = make_search("study", space=make_space(levels=levels), n_trials=2 * n_levels, folds=3, seed=seed)
    blocks = search.search._rules.blocks(levels)
    for fold in range(3):
        assert {(level, fold) for level in levels} == set(blocks[fold * n_levels : (fold + 1) * n_levels])


@pytest.mark.parametrize(
    ("settings", "folds"), [("shared", 1), ("shared", 2), ("shared", 5), ("own", 2), ("own", 5)]
)
def test_levels_of_a_shared_setting_take_turns_with_the_folds(make_search, settings, folds):
    search = make_search("a", space=make_space(settings=settings), folds=folds)
    own = {level: [tuple(split.val) for split in splits] for level, splits in search.search.splits.items()}
    assert {len(set(validated)) for validated in own.values()} == {folds}
    different = {validated for splits in own.values() for validated in splits}
    images = [image for validated in different for image in validated]
    assert len(images) == len(set(images))  # they are folds of one partition
    n_folds = 5 if settings == "shared" else folds
    assert len(different) == min(n_folds, folds + len(LEVELS) - 1 if settings == "shared" else folds)
    if settings == "own":  # each level is raced by itself, on the same folds as the others
        assert len({tuple(splits) for splits in own.values()}) == 1


@pytest.mark.parametrize("settings", SETTINGS)
def test_numbers_go_round_the_levels_and_random_draws_are_shared(make_search, settings):
    space = make_space(first_points=no_points, settings=settings)
    search = make_search("study", space=space, n_trials=12, sampler="random", pruner="none").run()
    check_finished(search)
    levels = search.table("trials")["level"]
    assert levels.tolist() == 4 * list(LEVELS)
    for start in range(0, 12, 3):
        assert search.params(start) == search.params(start + 1) == search.params(start + 2)


def test_each_level_of_its_own_has_a_trial_before_another_has_two_and_cheap_ones_come_first(make_search):
    costs = {"none": 3.0, "1": 1.0, "2": 2.0}
    search = make_search("study", space=make_space(settings="own"), n_trials=9, pruner="none", costs=costs).run()
    given = [LEVELS[number % 3] for number in search.given]
    assert given == 3 * ["1", "2", "none"]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_parameters_depend_on_the_seed_alone(make_search, sampler):
    one, same, other = (
        make_search(name, sampler=sampler, seed=seed).run()
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert_same(one, same)
    assert [one.params(n) for n in range(12)] != [other.params(n) for n in range(12)]


def test_a_space_without_a_factor(make_search):
    search = make_search("study", n_trials=5, space=replace(make_space(), factor=None, levels=("1",))).run()
    check_finished(search)
    assert search.table("trials")["setting"].isna().all()


# The order of trainings, and racing


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_blocks_are_trained_in_order_and_settings_are_finished_first(make_search, slots):
    search = make_search("study", pruner="none")
    order, chance, seen = search.search._rules.blocks(LEVELS), random.Random(slots), []
    while True:
        while len(search.running) < slots and (trial := search.ask()) is not None:
            seen.append((trial.number // 3, order.index((trial.level, trial.folds_done))))
        if not search.running:
            break
        search.advance(chance.choice(list(search.running)))
    check_finished(search)
    begun = [setting for setting, _ in seen]
    assert sorted(set(begun)) == list(dict.fromkeys(begun))
    if slots == 1:
        assert seen == sorted(seen)
        assert len(seen) == 4 * len(order) - 4 * sum(a[0] == b[0] for a, b in pairwise(order))


@pytest.mark.parametrize("n_trials", [3, 6])
def test_nothing_is_paused_with_one_fold(make_search, n_trials):
    search = make_search("study", folds=1, n_trials=n_trials, pruner="none").run(slots=2, chance=random.Random(0))
    check_finished(search)
    assert len(search.given) == n_trials


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pruner", ["race", "asha"])
def test_racing_depends_on_scores_alone_not_on_which_worker_is_faster(make_search, pruner, seed):
    options = {"n_trials": 24, "sampler": "random", "pruner": pruner, "kept": 1 + seed % 2, "seed": seed}
    alone = make_search("alone", **options).run()
    check_finished(alone)
    behind = alone.falling_behind(LEVELS)
    assert behind
    assert alone.dropped() == behind
    for slots in (2, 4, 7):
        search = make_search(f"{slots}", **options).run(slots, random.Random(slots))
        check_finished(search)
        assert search.falling_behind(LEVELS) == behind
        # With more workers a setting may be whole before it is known to be behind; then it stays whole.
        assert set(search.dropped()) <= set(behind)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_nothing_is_dropped_before_enough_settings_are_whole(make_search, kept):
    search = make_search("study", space=rates(0.1, *[0.001] * 7), n_trials=24, kept=kept).run()
    assert search.dropped() == list(range(kept, 8)) if kept == 1 else search.dropped() == []


def test_a_dropped_setting_leaves_a_row_for_every_level(make_search):
    search = make_search("study", space=rates(0.1, 0.001), n_trials=6, kept=1).run()
    check_finished(search)
    rows = search.table("trials")[3:]
    assert set(rows["state"]) == {"PRUNED"}
    assert sorted(rows["epochs"]) == [0, 0, 1]
    assert rows["value"].isna().sum() == 2


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("pruner", ["race", "asha", "none"])
def test_trials_are_stopped_early_unless_told_otherwise(make_search, pruner, settings):
    space = make_space(settings=settings)
    search = make_search("study", pruner=pruner, n_trials=24, space=space).run()
    check_finished(search)
    assert ("PRUNED" in search.states.values()) == (pruner != "none")


# Kills


@pytest.mark.parametrize("every", [pytest.param(4, marks=pytest.mark.slow), 11, 23])
@pytest.mark.parametrize(
    ("settings", "sampler", "pruner"),
    [("shared", "random", "race"), ("shared", "tpe", "race"), ("shared", "tpe", "asha"), ("own", "tpe", "race")],
)
def test_a_search_killed_at_any_write_resumes_exactly(make_search, kill, settings, sampler, pruner, every):
    options = {"n_trials": 12, "seed": 1, "sampler": sampler, "pruner": pruner}
    space = make_space(settings=settings, first_points=no_points)
    once, broken = make_search("once", space=space, **options).run(), make_search("broken", space=space, **options)
    kills = 0
    while True:
        kill(every + kills % 3)
        try:
            broken.run()
            break
        except Killed:
            kills += 1
            kill(0)
            broken.restart()
    kill(0)
    assert kills > 4
    assert not list(once.folder.path.glob("checkpoints/*"))
    check_finished(broken)
    assert_same(once, broken)
    assert broken.told() == once.told()
    assert broken.trained <= once.trained + 2 * kills


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("settings", "sampler", "pruner", "several"),
    [("shared", "tpe", "race", False), ("shared", "random", "asha", False), ("shared", "nsga2", "race", True),
     ("shared", "cmaes", "race", False), ("own", "tpe", "none", True), ("own", "random", "race", False)],
)  # fmt: skip
def test_whatever_happens_every_trial_ends_once(make_search, kill, settings, sampler, pruner, several, seed):
    chance = random.Random(f"{settings} {sampler} {pruner} {seed}")
    space = numbers_space if sampler == "cmaes" else make_space(first_points=chance.choice((no_points, first)))
    search = make_search(
        "study", space=replace(space, settings=settings), sampler=sampler, pruner=pruner, several=several,
        seed=seed, n_trials=18, kept=1 + seed % 2,
    )  # fmt: skip
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
    before = search.told()
    search.restart(journal_lost=True)
    assert search.told() == before
    check_finished(search)


def first(level, profile):
    return (FIRST,)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp", "cmaes"])
def test_a_setting_killed_while_it_is_drawn_is_drawn_the_same(make_search, kill, sampler):
    space = make_space(configure=configure_numbers if sampler == "cmaes" else configure, first_points=no_points)
    options = {"space": space, "sampler": sampler, "n_trials": 18, "pruner": "none"}
    once = make_search("once", **options).run()
    broken = make_search("broken", **options)
    for n_ended in range(3, 21, 3):
        for n in (1, 2, 3):
            kill(n)
            with suppress(Killed):
                broken.ask()
            kill(0)
            broken.restart()
        while len(broken.states) < n_ended:
            broken.finish(broken.ask().number)
    assert_same(once, broken)


# Losses


@pytest.mark.parametrize("n_epochs", range(EPOCHS))
def test_a_lost_trial_resumes_from_its_checkpoint_with_one_trial_fewer_beside_it(make_search, n_epochs):
    search = make_search("study", pruner="none")
    before = {trial.number: trial for trial in [search.ask() for _ in range(3)]}
    for _ in range(n_epochs):
        search.advance(1)
    search.fail(1, LOST)
    assert (search.trials.slots(3), search.trials.slots(1)) == (2, 1)
    again = search.ask()  # before new trials
    assert (again.number, again.params, again.epochs) == (1, before[1].params, n_epochs)
    assert search.trials.slots(3) == 2
    while 1 in search.running or search.states.get(1) is None:
        search.advance(random.choice(list(search.running)))
        while len(search.running) < 3 and search.ask():
            pass
    assert search.trials.slots(3) == 3
    check_finished(search.run(slots=3))
    assert search.trained == len(search.table("epochs"))


def test_a_trial_that_is_lost_twice_fails_and_its_setting_goes_on(make_search):
    search = make_search("study")
    number = search.ask().number
    for _ in range(2):
        search.advance(number)
        search.fail(number, LOST)
        if number not in search.states:
            assert search.ask().number == number
    assert search.table("trials")["error"].tolist() == ["its worker was lost, twice"]
    check_finished(search.run())
    assert [row["state"] for row in search.settings(LEVELS)[0]].count("COMPLETE") == 2


def test_a_failure_that_more_memory_does_not_help_is_not_retried(make_search):
    search = make_search("study")
    search.fail(search.ask().number, Failure("DivergedError: no"))
    assert search.table("trials")["error"][0] == "DivergedError: no"
    check_finished(search.run())


def test_a_trial_that_never_started_may_be_given_out_again_and_again(make_search):
    search = make_search("study")
    numbers = []
    for _ in range(3):
        numbers.append(search.ask().number)
        search.running.clear()
        search.trials.give_again(numbers[0])
        assert search.trials.slots(2) == 2
    assert len(set(numbers)) == 1
    check_finished(search.run())
    assert search.states[numbers[0]] == "COMPLETE"


def test_a_damaged_checkpoint_is_reported_and_its_trial_starts_over(make_search):
    search = make_search("study")
    number = search.ask().number
    search.advance(number)
    (file,) = search.folder.path.glob("checkpoints/*")
    file.write_bytes(b"junk")
    search.restart()
    assert search.ask().epochs == 0
    assert f"search trial {number}" in search.output.getvalue()
    assert "damaged" in search.output.getvalue()
    check_finished(search.run())


# The deadline, and failures


@pytest.mark.parametrize("restarted", [False, True])
def test_after_the_deadline_what_was_begun_is_finished_and_nothing_else_begins(make_search, restarted):
    search = make_search("study", time_budget="0.001s")
    for _ in range(2):
        search.finish(search.ask().number)
    if restarted:
        search.restart()
    search.run()
    assert sorted(search.states) == [0, 1, 2]
    search.restart(journal_lost=restarted, time_budget=None)  # with more time, it continues with those left out
    check_finished(search.run())


def test_after_the_deadline_a_level_of_its_own_without_a_complete_trial_gets_another(make_search):
    search = make_search("study", time_budget="0.001s", space=make_space(settings="own"))
    assert [trial and trial.level for trial in [search.ask() for _ in range(4)]] == [*LEVELS, None]
    search.finish(0)
    search.finish(1)
    search.end(2, "OSError: no")
    assert search.ask().number == 5
    assert search.ask() is None
    search.finish(5)
    assert search.ask() is None


def test_a_search_whose_first_trials_all_fail_ends_and_can_be_resumed(make_search):
    search = make_search("study")
    for _ in range(3):
        assert search.trials.failure is None
        search.end(search.ask().number, "OSError: no")
    assert "OSError: no" in search.trials.failure
    assert search.ask() is None
    search.restart()
    assert search.trials.failure is None
    check_finished(search.run())


def test_one_complete_trial_shows_that_the_search_can_continue(make_search):
    search = make_search("study", folds=1)
    search.finish(search.ask().number)
    for _ in range(5):
        search.end(search.ask().number, "OSError: no")
    assert search.trials.failure is None


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_parameters_that_make_no_network_end_their_trial_alone(make_search, settings, several):
    def picky(suggest, level, profile):
        configuration = configure(suggest, level, profile)
        if configuration.training.lr < 0.02 and level == "1":
            raise ValueError("input_px=24 is too small")
        return configuration

    space = make_space(configure=picky, settings=settings)
    search = make_search("study", space=space, several=several, pruner="none").run()
    check_finished(search)
    rejected = search.table("trials").query("state == 'FAIL'")
    assert len(rejected)
    assert (rejected["error"] == "ValueError: input_px=24 is too small").all()
    assert not set(rejected["number"]) & set(search.given)
    assert set(search.states.values()) == {"FAIL", "COMPLETE"}
    before = search.told()
    search.restart(journal_lost=True)
    assert search.told() == before


# Extensions and changes


@pytest.mark.parametrize("journal_lost", [False, True])
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_finished_search_can_be_extended(make_search, settings, sampler, journal_lost):
    points = (0.05, 0.001, 0.03, 0.02, 0.01)
    search = make_search("study", sampler=sampler, space=rates(*points, settings=settings)).run()
    before, n_given = search.table("trials"), len(search.given)
    assert "PRUNED" in set(before["state"])
    search.restart(journal_lost=journal_lost, trials=18)
    check_finished(search.run())
    assert search.table("trials")[: len(before)][before.columns].equals(before)
    assert min(search.given[n_given:]) >= 12
    for level in range(3):
        assert [search.params(3 * number + level)["lr"] for number in range(5)] == list(points)


def test_a_rebuilt_journal_keeps_the_numbers_of_unfinished_trials(make_search):
    search = make_search("study", n_trials=18, pruner="none", folds=1)
    for number in [search.ask().number for _ in range(11)]:
        if number in (1, 5, 7):
            search.finish(number)
    search.restart(journal_lost=True)
    assert sorted(search.ask().number for _ in range(6)) == [0, 2, 3, 4, 6, 8]
    assert search.trials.open[0].params == search.trials.open[2].params == FIRST
    assert search.trials.open[3].params == search.params(5)
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
    (trials,) = search.in_optuna().values()
    assert len(trials) == 6
    assert all(trial.state.is_finished() for trial in trials)


# The result
