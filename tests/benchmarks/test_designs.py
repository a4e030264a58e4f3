from dataclasses import replace

import numpy as np
import pytest

from benchmarks.designs import DESIGNS, Study, critical_value, estimate, simulate, standard_errors
from benchmarks.replay import load

WORLD = estimate(load())
QUIET = replace(WORLD, fold=0.0, fold_setting=0 * WORLD.fold_setting, noise=0 * WORLD.noise)


def test_the_world_is_that_of_the_grid():
    assert pytest.approx(load().final.mean(axis=2)) == WORLD.truth
    assert (WORLD.real_share >= 0).all()
    assert (WORLD.real_share <= 1).all()
    rng = np.random.default_rng(0)
    found = WORLD.scores(rng, 20_000, 5)
    assert found.mean(axis=2) == pytest.approx(WORLD.truth, abs=0.005)
    assert found.var(axis=2)[0] == pytest.approx(WORLD.fold + WORLD.fold_setting + WORLD.noise, rel=0.1)


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_keep_settings_of_the_grid_and_count_what_they_train(name):
    for seed in range(5):
        kept, searched = DESIGNS[name](Study(WORLD, np.random.default_rng(seed)))
        assert kept.shape[0] == 8
        assert ((kept >= 0) & (kept < 12)).all()
        assert 0 < searched <= 12
        if name.startswith("crossed"):
            assert (kept == kept[0]).all()


def test_without_noise_a_crossed_search_of_everything_keeps_the_best():
    kept, _ = DESIGNS["crossed: 12 settings on 1 fold, the same"](Study(QUIET, np.random.default_rng(0)))
    assert kept[0].tolist() == np.argsort(-WORLD.truth.mean(axis=0))[:2].tolist()


def test_the_exact_test_is_exact_at_one_setting():
    equal = replace(WORLD, interaction=0 * WORLD.interaction, levels=0 * WORLD.levels)
    found = simulate(equal, lambda study: (np.full((8, 2), [0, 3]), 0.0), 2000)
    assert np.mean(found.alarms) == pytest.approx(0.05, abs=0.02)
    errors = standard_errors(equal, np.full((8, 2), [0, 3]))
    assert found.errors.std(axis=0) == pytest.approx(errors, rel=0.06)
    assert 2.5 < critical_value(7) < 2.7
