from dataclasses import replace
from typing import get_args

import pytest
from plans import NAMES, PLACEMENT, SPACES

from search.space import (
    PAPER_LEVELS,
    PAPER_PROFILE,
    QUICK_ADAMW_PROFILES,
    QUICK_PROFILES,
    Configuration,
    FixedSuggester,
    OptimizerName,
    RandomSuggester,
    Space,
    TrainingConfig,
    sample,
)
from search.study.configurations import (
    for_transfer,
    for_way,
    input_sides,
    largest_configurations,
    level_configuration,
    paper_configuration,
    typical_configuration,
)
from search.training.cost import image_cost
from search.training.types import Way
from wbcmodels.config import PAPER_WBCSNET, PAPER_WBCSNET2, ModelConfig


@pytest.mark.parametrize("profile", [PLACEMENT.paper, *PLACEMENT.quick])
def test_paper_networks_take_a_profiles_size_and_the_epochs_that_sgd_needs(profile):
    epochs = profile.epochs * (1 if profile.optimizer == "sgd" else 2)
    for level, network in zip(PAPER_LEVELS, (PAPER_WBCSNET, PAPER_WBCSNET2), strict=True):
        configuration = paper_configuration(level, profile)
        assert replace(configuration.model, width=1.0, input_px=70) == network
        assert (configuration.model.width, configuration.model.input_px) == (profile.width, max(profile.input_px))
        training = configuration.training
        assert (training.epochs, training.lr, training.batch_size) == (epochs, 0.001, 32)
        assert training.optimizer == "sgd"
        assert (training.schedule, training.class_weighting) == ("constant", "none")
        # Parameters, whichever, do not touch it.
        assert level_configuration(PLACEMENT, level, profile, {"norm": "group"}) == configuration


@pytest.mark.parametrize("name", ["residual_placement", "wbcsnet2", "ablation"])
def test_networks_of_the_paper_are_trained_as_their_profile_says(name):
    space = SPACES[name]
    assert space.quick == QUICK_ADAMW_PROFILES
    for profile in (space.paper, *space.quick):
        for level in space.levels:
            for configuration in sample(space, level, profile, 10):
                training = configuration.training
                assert (training.optimizer, training.batch_size) == (profile.optimizer, profile.batch_size)
                assert training.epochs == profile.epochs
                assert profile.lr[0] <= training.lr <= profile.lr[1]
            for params in space.first_points(level, profile):
                assert profile.lr[0] <= params["lr"] <= profile.lr[1]


@pytest.mark.parametrize("profile", [PAPER_PROFILE, *QUICK_PROFILES, *QUICK_ADAMW_PROFILES])
def test_a_transfer_has_the_profiles_epochs_and_the_papers_networks_twice_those_of_adamw(profile):
    for level in PAPER_LEVELS:
        transferred = for_transfer(level, paper_configuration(level, profile), profile)
        share = transferred.training.epochs / profile.transfer_epochs
        assert share == (1 if profile.optimizer == "sgd" else 2)
    own = sample(PLACEMENT, "1", profile, 1)[0]
    assert for_transfer("1", own, profile).training.epochs == profile.transfer_epochs


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
@pytest.mark.parametrize("way", get_args(Way))
def test_a_way_changes_the_rate_of_a_head_alone_and_nothing_else(way, optimizer):
    given = sample(PLACEMENT, "1", PLACEMENT.quick[0], 1)[0]
    given = replace(given, training=replace(given.training, optimizer=optimizer))
    found = for_way(given, way)
    faster = way == "frozen" and optimizer != "sgd"
    assert (found.training.lr > given.training.lr) == faster
    assert replace(found, training=replace(found.training, lr=given.training.lr)) == given


@pytest.mark.parametrize("name", NAMES)
def test_level_configuration_needs_every_parameter(name):
    space = SPACES[name]
    profile = space.quick[0]
    for level in space.levels:
        drawn = {}

        class Remembering(RandomSuggester):
            def suggest_float(self, name, *args, drawn=drawn, **options):
                return drawn.setdefault(name, super().suggest_float(name, *args, **options))

            def suggest_categorical(self, name, choices, drawn=drawn):
                return drawn.setdefault(name, super().suggest_categorical(name, choices))

        configuration = space.configure(Remembering(0), level, profile)
        assert level_configuration(space, level, profile, drawn) == configuration
        for missing in drawn:
            rest = {key: value for key, value in drawn.items() if key != missing}
            with pytest.raises(KeyError, match=missing):
                level_configuration(space, level, profile, rest)


@pytest.mark.parametrize("name", NAMES)
def test_largest_configuration_is_no_smaller_than_any_other(name):
    space, profile = SPACES[name], SPACES[name].quick[0]
    largest = largest_configurations(space, profile, 5)
    assert list(largest) == [*space.levels, *PAPER_LEVELS]
    for level in space.levels:
        assert all(image_cost(c, 5) <= image_cost(largest[level], 5) for c in sample(space, level, profile, 40))
    costs = sorted(image_cost(largest[level], 5) for level in space.levels)
    assert image_cost(typical_configuration(space, profile, 5), 5) <= costs[-1]


@pytest.mark.parametrize("name", NAMES)
def test_input_sides_cover_every_configuration(name):
    space = SPACES[name]
    for profile in (space.paper, *space.quick):
        sides = input_sides(space, profile)
        assert list(sides) == sorted(set(sides))
        asked = [c for level in space.levels for c in sample(space, level, profile, 60)]
        asked += [level_configuration(space, level, profile, {}) for level in PAPER_LEVELS]
        for level in space.levels:
            asked += [
                space.configure(FixedSuggester(params), level, profile)
                for params in space.first_points(level, profile)
            ]
        assert {configuration.model.input_px for configuration in asked} <= set(sides)


def own_space(ask_side, **changes):
    """A space that chooses its input side itself, whatever the profile lists."""

    def configure(suggest, level, profile):
        return Configuration(
            model=ModelConfig(placement=level, width=profile.width, input_px=ask_side(suggest)),
            training=TrainingConfig(epochs=profile.epochs, lr=0.01),
        )

    return Space(question="own?", configure=configure, levels=("none", "1"), **changes)


def test_input_sides_include_those_that_a_space_chooses_itself():
    space = own_space(lambda suggest: suggest.suggest_categorical("side", (20, 24, 44)))
    assert {20, 24, 44} <= set(input_sides(space, PAPER_PROFILE))
    space = own_space(
        lambda suggest: suggest.suggest_int("side", 16, 512), first_points=lambda *_: ({"side": 333},)
    )
    assert 333 in input_sides(space, PAPER_PROFILE)
