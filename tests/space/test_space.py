import dataclasses
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from suggesters import Recorder

from search.space import Configuration, FixedSuggester, RandomSuggester, sample
from search.space.load import load_space
from wbcmodels.config import ModelConfig

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "spaces").glob("*.py") if path.stem != "__init__")
SPACES = {name: load_space(name)[1] for name in NAMES}
LEVELS = [
    pytest.param(space, level, id=f"{name}-{level}") for name, space in SPACES.items() for level in space.levels
]


@pytest.mark.parametrize(("space", "level"), LEVELS)
def test_configurations_depend_on_the_parameters_only_and_fit_the_profile(space, level):
    for profile in (space.paper, *space.quick):
        for seed in range(5):
            suggester = Recorder(seed)
            configuration = space.configure(suggester, level, profile)
            assert isinstance(configuration, Configuration)
            assert configuration.training.epochs <= profile.epochs
            if isinstance(configuration.model, ModelConfig):
                assert configuration.model.width == profile.width
                assert configuration.model.input_px in profile.input_px
                assert configuration.training.epochs == profile.epochs
                assert profile.lr[0] <= configuration.training.lr <= profile.lr[1]
            assert space.configure(FixedSuggester(suggester.asked), level, profile) == configuration
        assert len({repr(configuration) for configuration in sample(space, level, profile, 5)}) > 1
        assert sample(space, level, profile, 7)[:5] == sample(space, level, profile, 5)


@pytest.mark.parametrize(("space", "level"), LEVELS)
def test_optuna_can_search_a_space_and_try_its_first_points(space, level):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for profile in (space.paper, *space.quick):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        configuration = space.configure(trial, level, profile)
        assert space.configure(FixedSuggester(trial.params), level, profile) == configuration
        for params in space.first_points(level, profile):
            # Optuna warns of a value out of range, and refuses one that is not a choice.
            fixed = optuna.trial.FixedTrial(params)
            assert space.configure(fixed, level, profile) == space.configure(
                FixedSuggester(params), level, profile
            )
            assert set(fixed.params) == set(params)


@pytest.mark.parametrize("name", [name for name in NAMES if SPACES[name].factor is not None])
def test_every_level_is_a_different_configuration(name):
    space = SPACES[name]
    for profile in (space.paper, *space.quick):
        for seed in range(5):
            levels = {repr(space.configure(RandomSuggester(seed), level, profile)) for level in space.levels}
            assert len(levels) == len(space.levels)


@pytest.mark.parametrize("name", [name for name in NAMES if SPACES[name].effects])
def test_effects_split_the_levels_into_halves_that_cross(name):
    space = SPACES[name]
    assert space.groups == (space.levels,)
    for effect in space.effects:
        assert set(effect.levels) < set(space.levels)
        assert 2 * len(effect.levels) == len(space.levels)
        for other in space.effects:
            if other is not effect:
                assert 4 * len({*effect.levels} & {*other.levels}) == len(space.levels)


def test_levels_are_searched_together_where_they_share_settings():
    space = SPACES["residual_placement"]
    own = dataclasses.replace(space, settings="own")
    assert own.groups == tuple((level,) for level in space.levels)
    assert dataclasses.replace(space, factor=None).groups == own.groups


@pytest.mark.parametrize("name", NAMES)
def test_profiles_go_from_large_to_small(name):
    quick = SPACES[name].quick
    for profile in (SPACES[name].paper, *quick):
        assert list(profile.input_px) == sorted(set(profile.input_px))
        assert 0 < profile.lr[0] < profile.lr[1]
        assert profile.trials_per_level >= 2
        assert profile.search_folds >= 2
    for larger, smaller in pairwise(quick):
        for name_ in ("width", "epochs", "trials_per_level"):
            assert getattr(larger, name_) >= getattr(smaller, name_)
        assert max(larger.input_px) >= max(smaller.input_px)
        assert larger != smaller


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("search.space, wbcmodels.cost", {"torch", "ray", "optuna", "pandas", "numpy", "sklearn"}),
        (
            "search.data.sources, search.training.types, search.training.checkpoint, search.training.trainedmodel",
            {"torch", "ray", "optuna", "pandas", "sklearn", "tifffile"},
        ),
    ],
)
def test_what_the_driver_imports_is_light(modules, absent):
    code = f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in json.loads(done.stdout)} & absent


def test_a_space_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPACES["residual_placement"].factor = None
