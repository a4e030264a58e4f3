from dataclasses import replace

import optuna
import pytest
from book_harness import (
    LEVELS,
    PROFILE,
    Search,
    check_run_that_came_to_its_end,
    configuration_of,
    configure_numbers,
    make_space,
    numbers_space,
)
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search.common.errors import InputError
from search.space import load_space
from search.tuning.samplers import check_sampler, make_sampler

TYPES = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "gp": optuna.samplers.GPSampler,
}
DISTRIBUTIONS = {
    "lr": FloatDistribution(0.001, 0.1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "norm": CategoricalDistribution(("batch", "group")),
}
TWO = ("none", "1")


def drawn(name, seed, n_known=0, n_startup=3):
    """What a sampler suggests to a study that knows so many trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n_known):
        trial = study.ask(DISTRIBUTIONS)
        study.tell(trial, trial.params["lr"] + trial.params["dropout"])
    study.sampler = make_sampler(name, seed=seed, n_startup=n_startup)
    return study.ask(DISTRIBUTIONS).params


def two_levels(name):
    space = numbers_space() if name == "cmaes" else make_space()
    return replace(space, levels=TWO)


@pytest.mark.parametrize("name", TYPES)
def test_a_sampler_by_its_name(name):
    assert type(make_sampler(name, seed=1, n_startup=2)) is TYPES[name]


@pytest.mark.parametrize("n_known", [0, 6])
@pytest.mark.parametrize("name", TYPES)
def test_the_seed_alone_decides_what_is_drawn(name, n_known):
    once = drawn(name, 1, n_known)
    assert drawn(name, 1, n_known) == once
    # One that makes the most of what it knows may come to the same point twice, but not always.
    assert any(drawn(name, seed, n_known) != once for seed in range(2, 5))


@pytest.mark.parametrize("name", ["random", "nsga2", "cmaes", "gp"])
def test_the_startup_is_drawn_as_random_draws(name):
    assert drawn(name, 7) == drawn("random", 7)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("several", [False, True])
def test_a_small_study_comes_to_its_end(tmp_path, name, several):
    if several and name == "cmaes":
        pytest.skip("it takes one objective")
    n_trials = 8 if name == "gp" else 12  # gp is slow
    options = {
        "n_trials": n_trials,
        "sampler": name,
        "space": two_levels(name),
        "several": several,
        "pruner": "none",
    }
    once = Search(tmp_path / "once.journal", **options).run()
    check_run_that_came_to_its_end(once)
    assert set(once.states().values()) == {"COMPLETE"}
    broken = Search(tmp_path / "broken.journal", **options)
    for _ in range(n_trials - 3):
        broken.finish(broken.ask().number)
    trial = broken.ask()
    broken.advance(trial.number)
    broken.restart()
    check_run_that_came_to_its_end(broken.run())
    # What a sampler knows, it has from the storage.
    assert broken.ended == once.ended
    # The random start is the same at both levels; beyond it, every trial is another.
    params = [once.params()[number] for number in range(n_trials)]
    start = n_trials // 4
    for index in range(start):
        assert params[2 * index] == params[2 * index + 1]
    later = {str(sorted(one.items())) for one in params[2 * start :]}
    assert len(later) >= 2


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2", "cmaes"])
def test_random_start_is_the_same_for_all_levels_in_parallel(tmp_path, name):
    search = Search(tmp_path / "optuna.journal", n_trials=24, sampler=name, space=make_space())
    n_levels, start = len(LEVELS), 8 // 2
    trials = [search.ask() for _ in range(n_levels * start)]
    assert [trial.number for trial in trials] == list(range(n_levels * start))
    for index in range(start):
        same = [trial.params for trial in trials[index * n_levels : (index + 1) * n_levels]]
        assert same == [same[0]] * n_levels
    assert len({str(trial.params) for trial in trials}) == start


@pytest.mark.parametrize(
    ("name", "n_trials"), [("random", 12), ("tpe", 12), ("nsga2", 12), ("gp", 6), ("cmaes", 20)]
)
def test_beyond_its_start_a_search_makes_use_of_what_it_knows(tmp_path, name, n_trials):
    def configure_contrary(suggest, level, profile):
        dropout = suggest.suggest_float("dropout", 0.0, 0.5)
        low, high = profile.lr
        return configuration_of(
            level, "batch", dropout, low * high / suggest.suggest_float("lr", low, high, log=True)
        )

    params = []
    for configure in (configure_numbers, configure_contrary):
        space = make_space(levels=("1",), configure=configure, first_points=lambda *_: ())
        journal = tmp_path / f"{configure.__name__}.journal"
        search = Search(journal, n_trials=n_trials, sampler=name, space=space, pruner="none").run()
        params.append([search.params()[number] for number in range(n_trials)])
    start = min(10, n_trials // 2)
    assert params[0][:start] == params[1][:start]
    assert (params[0] == params[1]) == (name == "random")


def one_number(suggest, level, profile):
    lr = suggest.suggest_float("lr", *profile.lr, log=True)
    suggest.suggest_int("stuck", 3, 3)
    suggest.suggest_float("fixed", 0.5, 0.5)
    return configuration_of(level, suggest.suggest_categorical("norm", ("batch", "group")), 0.0, lr)


@pytest.mark.parametrize("n_objectives", [1, 2])
@pytest.mark.parametrize("name", ["tpe", "random", "nsga2", "gp"])
def test_others_than_cmaes_search_any_space(name, n_objectives):
    check_sampler(name, make_space(configure=one_number), PROFILE, n_objectives)


def test_cmaes_takes_one_objective():
    check_sampler("cmaes", numbers_space(), PROFILE, 1)
    with pytest.raises(InputError, match=r"^--sampler cmaes: it takes one objective; --objectives has several$"):
        check_sampler("cmaes", numbers_space(), PROFILE, 2)


def test_cmaes_needs_two_numbers_that_vary():
    with pytest.raises(InputError, match=r"^--sampler cmaes: .* at level none there is lr$"):
        check_sampler("cmaes", make_space(configure=one_number), PROFILE, 1)
    narrow = replace(PROFILE, lr=(0.01, 0.01))
    with pytest.raises(InputError, match=r"at level none there is none$"):
        check_sampler("cmaes", make_space(configure=one_number), narrow, 1)


def test_cmaes_needs_them_at_every_level():
    def configure(suggest, level, profile):
        return (one_number if level == "2" else configure_numbers)(suggest, level, profile)

    with pytest.raises(InputError, match="at level 2 there is lr"):
        check_sampler("cmaes", make_space(configure=configure), PROFILE, 1)


@pytest.mark.parametrize(
    ("name", "refused"), [("residual_placement", False), ("wbcsnet2", False), ("ablation", True)]
)
def test_cmaes_and_the_spaces_that_come_along(name, refused):
    _, space = load_space(name)
    for profile in (space.paper, *space.quick):
        if refused:
            with pytest.raises(InputError, match=r"^--sampler cmaes: .* there is lr$"):
                check_sampler("cmaes", space, profile, 1)
        else:
            check_sampler("cmaes", space, profile, 1)
