from dataclasses import replace
from typing import get_args

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from simulated_search import PROFILE, assert_same, check_finished, configuration_of, configure_numbers, make_space

from search.common.errors import InputError
from search.records.arguments import Sampler
from search.tuning.samplers import check_sampler, make_sampler

SAMPLERS = get_args(Sampler)
DISTRIBUTIONS = {
    "lr": FloatDistribution(0.001, 0.1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "norm": CategoricalDistribution(("batch", "group")),
}
numbers_space = make_space(configure=configure_numbers, first_points=lambda *_: ({"dropout": 0.1, "lr": 0.05},))


def drawn(name, seed, n_known=0):
    """What a sampler suggests to a study with so many trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n_known):
        trial = study.ask(DISTRIBUTIONS)
        study.tell(trial, trial.params["lr"] + trial.params["dropout"])
    study.sampler = make_sampler(name, seed=seed, n_startup=3)
    return study.ask(DISTRIBUTIONS).params


@pytest.mark.parametrize("n_known", [0, 6])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_alone_decides_what_is_drawn(name, n_known):
    once = drawn(name, 1, n_known)
    assert drawn(name, 1, n_known) == once
    # One that exploits what it knows may suggest the same point twice, but not always.
    assert any(drawn(name, seed, n_known) != once for seed in range(2, 5))


@pytest.mark.parametrize("name", ["random", "nsga2", "cmaes", "gp"])
def test_the_startup_draws_as_random_does(name):
    assert drawn(name, 7) == drawn("random", 7)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_sampler_knows_it_knows_from_the_storage(make_search, name):
    space = replace(numbers_space if name == "cmaes" else make_space(), levels=("none", "1"))
    options = {"n_trials": 8, "sampler": name, "space": space, "pruner": "none"}
    once, broken = make_search("once", **options).run(), make_search("broken", **options)
    for _ in range(8):
        broken.finish(broken.ask().number)
    broken.advance(broken.ask().number)
    broken.restart()
    check_finished(broken.run())
    assert_same(once, broken)


@pytest.mark.parametrize(
    ("name", "n_trials"), [("random", 6), ("tpe", 12), ("nsga2", 12), ("gp", 6), ("cmaes", 20)]
)
def test_beyond_its_startup_a_search_uses_its_results(make_search, name, n_trials):
    def contrary(suggest, level, profile):
        dropout = suggest.suggest_float("dropout", 0.0, 0.5)
        low, high = profile.lr
        lr = low * high / suggest.suggest_float("lr", low, high, log=True)
        return configuration_of(level, "batch", dropout, lr)

    params = []
    for configure in (configure_numbers, contrary):
        space = make_space(levels=("1",), configure=configure, first_points=lambda *_: ())
        search = make_search(configure.__name__, n_trials=n_trials, sampler=name, space=space, pruner="none").run()
        params.append([search.params(number) for number in range(n_trials)])
    start = min(10, n_trials // 2)
    assert params[0][:start] == params[1][:start]
    assert (params[0] == params[1]) == (name == "random")


def one_number(suggest, level, profile):
    lr = suggest.suggest_float("lr", *profile.lr, log=True)
    suggest.suggest_int("stuck", 3, 3)
    suggest.suggest_float("fixed", 0.5, 0.5)
    return configuration_of(level, suggest.suggest_categorical("norm", ("batch", "group")), 0.0, lr)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "cmaes"])
def test_other_samplers_than_cmaes_search_any_space(name):
    check_sampler(name, make_space(configure=one_number), PROFILE, 2)


def test_cmaes_needs_one_objective_and_two_varying_numbers_in_every_group_of_levels():
    check_sampler("cmaes", numbers_space, PROFILE, 1)
    with pytest.raises(InputError, match=r"^--sampler cmaes: .*--objectives"):
        check_sampler("cmaes", numbers_space, PROFILE, 2)

    def configure(suggest, level, profile):
        return (one_number if level == "2" else configure_numbers)(suggest, level, profile)

    check_sampler("cmaes", make_space(configure=configure), PROFILE, 1)
    with pytest.raises(InputError, match=r"^--sampler cmaes: .*level 2 .*lr$"):
        check_sampler("cmaes", make_space(configure=configure, settings="own"), PROFILE, 1)
    with pytest.raises(InputError, match=r"^--sampler cmaes: .*lr$"):
        check_sampler("cmaes", make_space(configure=one_number), PROFILE, 1)
