import random
from dataclasses import replace
from itertools import product

import optuna
import pytest
from book_harness import (
    EPOCHS,
    FIRST,
    FOLDS,
    LEVELS,
    Crash,
    Search,
    as_told,
    check_run_that_came_to_its_end,
    configuration_of,
    configure,
    make_space,
)
from optuna.trial import TrialState

from search.tuning.storage import journal_storage
from search.tuning.studies import KnownTrial, LevelStudies


def picky(suggest, level, profile):
    """Some of its parameters make no network; it has numbers, text, truth and a whole number besides."""
    norm = suggest.suggest_categorical("norm", ("batch", "group"))
    dropout = suggest.suggest_float("dropout", 0.0, 0.5, step=0.1)
    if norm == "group" and dropout > 0.25:
        raise ValueError("too small")
    if suggest.suggest_categorical("deep", (True, False)):
        suggest.suggest_int("depth", 2, 9)
    suggest.suggest_categorical("batch_size", (16, 32))
    return configuration_of(level, norm, dropout, suggest.suggest_float("lr", *profile.lr, log=True))


def told(search):
    """All that ended, as Optuna has it."""
    return {
        (level, trial.number): as_told(trial)
        for level, trials in search.in_optuna().items()
        for trial in trials
        if trial.state.is_finished()
    }


def run_with_some_failures(search, seed, n_calls=10_000):
    """Several trials at a time, some of which fail at once or later."""
    chance = random.Random(seed)
    for _ in range(n_calls):
        while len(search.running) < 3 and search.ask() is not None:
            pass
        if not search.running:
            break
        number = chance.choice(list(search.running))
        if chance.random() < 0.03:
            search.end(number, "OSError: no")
        else:
            search.advance(number)
    return search


@pytest.mark.parametrize(
    ("sampler", "pruner", "several"), list(product(("tpe", "random"), ("race", "asha"), (False, True)))
)
@pytest.mark.parametrize("n_calls", [60, 10_000])
def test_a_lost_journal_is_made_again_from_the_record(tmp_path, sampler, pruner, several, n_calls):
    space = make_space(configure=picky, first_points=lambda level, profile: ())
    options = {"sampler": sampler, "pruner": pruner, "several": several, "space": space}
    search = run_with_some_failures(Search(tmp_path / "optuna.journal", n_trials=30, **options), 1, n_calls)
    states = set(search.states().values())
    assert n_calls < 100 or states == {"COMPLETE", "PRUNED", "FAIL"}
    before = told(search)
    assert len(before) == len(search.ended)
    search.restart(journal_lost=True)
    assert told(search) == before
    check_run_that_came_to_its_end(search.run())
    search.restart()
    again = told(search)
    assert {key: again[key] for key in before} == before


def test_numbers_as_a_table_holds_them_are_no_others(tmp_path):
    """A table's column of numbers holds whole ones as floats."""
    space = make_space(configure=picky, first_points=lambda level, profile: ())
    search = Search(tmp_path / "optuna.journal", space=space, pruner="none").run()
    before = told(search)
    assert any("depth" in ended["params"] for ended in search.ended.values())
    for ended in search.ended.values():
        whole = {name: ended["params"][name] for name in ("depth", "batch_size") if name in ended["params"]}
        ended["params"] |= {name: float(value) for name, value in whole.items()}
    search.restart(journal_lost=True)
    assert told(search) == before


def test_a_journal_made_again_leaves_room_for_what_had_not_ended(tmp_path):
    search = Search(tmp_path / "optuna.journal", n_trials=18)
    for _ in range(11):
        search.ask()
    for number in (1, 5, 7, 9, 10):
        search.finish(number)
    search.restart(journal_lost=True)
    open_ones = [search.ask().number for _ in range(6)]
    assert set(open_ones) == {0, 2, 3, 4, 6, 8}
    assert search.book.open[0].params == search.book.open[2].params == FIRST
    assert search.ask().number == 11
    check_run_that_came_to_its_end(search.run())


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_follows_on_a_journal_made_again_is_what_would_have_followed(tmp_path, sampler):
    once = Search(tmp_path / "once.journal", sampler=sampler, n_trials=24).run()
    rebuilt = Search(tmp_path / "rebuilt.journal", sampler=sampler, n_trials=24)
    for _ in range(20):
        rebuilt.finish(rebuilt.ask().number)
    rebuilt.restart(journal_lost=True)
    rebuilt.run()
    assert rebuilt.ended == once.ended
    assert told(rebuilt) == told(once)


@pytest.mark.parametrize("end", ["COMPLETE", "PRUNED", "FAIL", "rejected"])
@pytest.mark.parametrize("several", [False, True])
def test_a_trial_on_record_is_told_and_not_run_again(tmp_path, end, several):
    def configure_or_not(suggest, level, profile):
        configuration = configure(suggest, level, profile)
        if end == "rejected" and configuration.training.lr == 0.001:
            raise ValueError("no")
        return configuration

    points = ({"norm": "batch", "lr": 0.1}, {"norm": "batch", "lr": 0.001})
    space = make_space(levels=("1",), configure=configure_or_not, first_points=lambda *_: points)
    search = Search(tmp_path / "optuna.journal", n_trials=3, space=space, several=several)
    number = 0 if end == "COMPLETE" else 1
    if number:
        search.finish(search.ask().number)
    if end != "rejected":
        search.ask()
    search.crash_at = "ended"

    def go_on():
        if end == "rejected":
            search.ask()
        elif end == "FAIL":
            search.end(1, "OSError: no")
        else:
            search.finish(number)

    with pytest.raises(Crash):
        go_on()
    assert search.states()[number] == ("FAIL" if end == "rejected" else end)
    assert search.in_optuna()["1"][number].state == TrialState.RUNNING
    search.restart()
    assert search.in_optuna()["1"][number].state.name == search.states()[number]
    search.run()
    assert search.given.count(number) == (end != "rejected")
    check_run_that_came_to_its_end(search)


def test_a_trial_that_goes_on_has_its_number_and_parameters(tmp_path):
    search = Search(tmp_path / "optuna.journal", keep_every=2)
    before = {trial.number: trial for trial in (search.ask() for _ in range(4))}
    for _ in range(FOLDS * EPOCHS - 1):
        search.advance(2)
    search.advance(1)
    search.restart()
    after = {trial.number: trial for trial in (search.ask() for _ in range(4))}
    assert list(after) == [0, 1, 2, 3]
    assert all(after[number].params == before[number].params for number in before)
    assert {number: trial.epochs for number, trial in after.items()} == {0: 0, 1: 0, 2: 4, 3: 0}
    assert not any(trial.again for trial in after.values())
    check_run_that_came_to_its_end(search.run())


def test_a_trial_that_was_being_asked_for_keeps_what_it_has_and_the_rest_follows_the_seed(tmp_path):
    params = []
    for name in ("a", "b"):
        search = Search(tmp_path / f"{name}.journal", space=make_space(first_points=lambda *_: ()))
        search.crash_at = "asked"
        with pytest.raises(Crash):
            search.ask()
        begun = search.in_optuna()["none"][0].params
        assert list(begun) == ["norm"]
        search.restart()
        trial = search.ask()
        assert trial.number == 0
        assert trial.params.items() > begun.items()
        params.append(trial.params)
        check_run_that_came_to_its_end(search.run())
    assert params[0] == params[1]


@pytest.mark.parametrize("journal_lost", [False, True])
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_an_ended_search_can_be_extended(tmp_path, sampler, journal_lost):
    search = Search(tmp_path / "optuna.journal", sampler=sampler).run()
    first, n_given = dict(search.ended), len(search.given)
    search.n_trials = 18
    search.restart(journal_lost=journal_lost)
    search.run()
    check_run_that_came_to_its_end(search)
    assert {number: search.ended[number] for number in first} == first
    assert search.given[n_given:] == list(range(12, 18))


def test_a_search_that_was_broken_off_can_be_extended(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    for _ in range(7):
        search.ask()
    search.finish(1)
    search.advance(4)
    search.n_trials = 18
    search.restart()
    assert [search.ask().number for _ in range(7)] == [0, 2, 3, 4, 5, 6, 7]
    check_run_that_came_to_its_end(search.run())


@pytest.mark.parametrize("journal_lost", [False, True])
def test_first_points_beyond_the_trials_of_a_level_enter_when_there_are_more(tmp_path, journal_lost):
    points = tuple({"norm": "batch", "lr": lr} for lr in (0.05, 0.04, 0.03, 0.02, 0.01))
    space = make_space(first_points=lambda level, profile: points)
    search = Search(tmp_path / "optuna.journal", n_trials=6, space=space).run()
    check_run_that_came_to_its_end(search)
    for n_trials in (12, 24):
        search.n_trials = n_trials
        search.restart(journal_lost=journal_lost)
        check_run_that_came_to_its_end(search.run())
    for level_index in range(3):
        lrs = [search.params()[3 * index + level_index] for index in range(5)]
        assert lrs == list(points)


@pytest.mark.filterwarnings(
    "default:.* is out of the range:UserWarning"
)  # what Optuna warns of is no error outside
@pytest.mark.parametrize("change", ["range", "choice", "gone", "raises"])
def test_a_space_that_has_changed_stops_no_search(tmp_path, change):
    """Whoever forces a study on with another space has its trials on record kept, and no error."""

    def changed(suggest, level, profile):
        lr = suggest.suggest_float("lr", 0.01 if change == "range" else 0.001, 0.1, log=True)
        norm = suggest.suggest_categorical("norm", ("batch", "none") if change == "choice" else ("batch", "group"))
        dropout = suggest.suggest_float("drop", 0.0, 0.5) if change == "gone" else 0.0
        if change == "raises" and lr < 0.02:
            raise ValueError("no")
        return configuration_of(level, norm, dropout, lr)

    def original(suggest, level, profile):
        norm = suggest.suggest_categorical("norm", ("batch", "group"))
        return configuration_of(level, norm, 0.0, suggest.suggest_float("lr", 0.001, 0.1, log=True))

    space = make_space(configure=original, first_points=lambda *_: ())
    search = Search(tmp_path / "optuna.journal", space=space, pruner="none", n_trials=18).run()
    states = search.states()
    assert set(states.values()) == {"COMPLETE"}
    search.n_trials = 24
    search.options["space"] = replace(space, configure=changed)
    search.restart(journal_lost=True)
    search.run()
    assert {number: search.states()[number] for number in states} == states
    assert sorted(search.ended) == list(range(24))
    for trials in search.in_optuna().values():
        assert len(trials) == 8
        assert all(trial.state.is_finished() for trial in trials)


def test_a_value_is_reported_once(tmp_path):
    search = Search(tmp_path / "optuna.journal", keep_every=FOLDS * EPOCHS)
    for _ in range(3):
        search.ask()
        for _ in range(FOLDS * EPOCHS - 1):
            search.advance(0)
        search.restart()
    assert sorted(search.in_optuna()["none"][0].intermediate_values) == [1, 2, 3, 4, 5]
    # Optuna would warn of a second one, and warnings are errors here.
    check_run_that_came_to_its_end(search.run())


def test_numbers_go_round_the_levels(tmp_path):
    search = Search(tmp_path / "optuna.journal")
    trials = [search.ask() for _ in range(12)]
    assert [trial.number for trial in trials] == list(range(12))
    assert [trial.level for trial in trials] == 4 * list(LEVELS)


def test_a_level_is_a_study_of_its_own_in_optuna(tmp_path):
    search = Search(tmp_path / "optuna.journal", several=True)
    names = optuna.get_all_study_names(journal_storage(search.journal))
    assert names == [f"level {level}" for level in LEVELS]
    study = optuna.load_study(study_name="level 1", storage=journal_storage(search.journal))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_what_is_on_record_is_enough_to_go_on(tmp_path):
    known = {
        4: KnownTrial(params=FIRST, state="COMPLETE", objectives=(0.5,), values=[[0.25, 0.5], [0.75]]),
        1: KnownTrial(params={"norm": "batch", "lr": 0.01}, state="FAIL", error="OSError: no"),
        3: KnownTrial(params={}, values=[[0.125]]),
    }
    rules = Search(tmp_path / "another.journal").rules
    storage = journal_storage(tmp_path / "optuna.journal")
    studies = LevelStudies(rules, storage, known)
    assert studies.unfinished == []
    assert studies.asked == {"none": 0, "1": 2, "2": 0}
    trials = optuna.load_study(study_name="level 1", storage=storage).get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[0].user_attrs == {"error": "OSError: no"}
    assert trials[1].intermediate_values == {1: 0.25, 2: 0.5, 3: 0.75}
    assert [studies.ask(level).number for level in ("none", "1", "2", "none")] == [0, 7, 2, 3]
