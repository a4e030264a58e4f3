"""The configurations of a space at a profile: of its levels, of the paper, and the largest."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from search.space import (
    PAPER_LEVELS,
    Configuration,
    FixedSuggester,
    Profile,
    Space,
    TrainingConfig,
    sample,
)
from search.training.cost import image_cost, training_cost
from search.training.types import Way
from wbcmodels.config import PAPER_WBCSNET, PAPER_WBCSNET2, ModelConfig

# The paper gives SGD, 40 epochs, mini-batches of 32 and an initial learning rate of 0.001; MATLAB's `sgdm` keeps
# that rate by default.
PAPER_TRAINING = TrainingConfig(epochs=40, lr=0.001, schedule="constant")

# With AdamW, few steps of a whole network's rate do not get a new head far. Balanced accuracy of heads on frozen
# features is 0.86, 0.79 and 0.79 with this factor, and 0.69, 0.73 and 0.69 without it (none from PBC to LISC, none
# and 1+2 between drawn cells, 28 px, 3 epochs, one seed).
FROZEN_RATE = 10.0

# Configurations of a level that stand for all of them.
SAMPLES = 40


def paper_configuration(level: str, profile: Profile) -> Configuration:
    """One of PAPER_LEVELS at a profile's width, epochs and largest input."""
    network = {"paper_plain": PAPER_WBCSNET, "paper_wbcsnet2": PAPER_WBCSNET2}[level]
    return Configuration(
        model=replace(network, width=profile.width, input_px=max(profile.input_px)),
        training=replace(PAPER_TRAINING, epochs=profile.paper_epochs),
    )


def level_configuration(space: Space, level: str, profile: Profile, params: dict[str, object]) -> Configuration:
    """The configuration with the given parameters at a level.

    Raises:
        KeyError: the level needs a parameter that is not given.
    """
    if level in PAPER_LEVELS:
        return paper_configuration(level, profile)
    return space.configure(FixedSuggester(params), level, profile)


def for_transfer(level: str, configuration: Configuration, profile: Profile) -> Configuration:
    """The configuration of a level with the number of epochs for the target."""
    if configuration.is_fitted_at_once:
        return configuration
    epochs = profile.paper_transfer_epochs if level in PAPER_LEVELS else profile.transfer_epochs
    return replace(configuration, training=replace(configuration.training, epochs=epochs))


def for_way(configuration: Configuration, way: Way) -> Configuration:
    """The configuration with the learning rate for a way of transfer."""
    training = configuration.training
    if way != "frozen" or training.optimizer == "sgd":
        return configuration
    return replace(configuration, training=replace(training, lr=FROZEN_RATE * training.lr))


def largest_configurations(space: Space, profile: Profile, n_classes: int) -> dict[str, Configuration]:
    """The most expensive configuration of each level and of each of the paper's networks."""
    own = {level: largest_configuration(space, level, profile, n_classes) for level in space.levels}
    return own | {level: paper_configuration(level, profile) for level in space.paper_levels}


def dearest(configurations: Iterable[Configuration], n_classes: int) -> Configuration:
    """The configuration that costs most to train on an image, over all its epochs."""
    return max(configurations, key=lambda c: training_cost(c, n_classes, 1, 0))


def typical_configuration(space: Space, profile: Profile, n_classes: int) -> Configuration:
    """The configuration of median cost among samples of all levels."""
    everyone = [c for level in space.levels for c in sample_configurations(space, level, profile)]
    return sorted(everyone, key=lambda c: image_cost(c, n_classes))[len(everyone) // 2]


def largest_configuration(space: Space, level: str, profile: Profile, n_classes: int) -> Configuration:
    """The most expensive of many configurations of a level."""
    return dearest(sample_configurations(space, level, profile), n_classes)


def sample_configurations(space: Space, level: str, profile: Profile) -> Iterator[Configuration]:
    """Many configurations of a level, drawn at random, and its first points."""
    yield from sample(space, level, profile, SAMPLES)
    for params in space.first_points(level, profile):
        yield space.configure(FixedSuggester(params), level, profile)


def input_sides(space: Space, profile: Profile) -> tuple[int, ...]:
    """Every input side, in px, that a study of this profile can use, ascending."""
    sides = set(profile.input_px)
    for level in space.levels:
        sides |= {configuration.model.input_px for configuration in sample_configurations(space, level, profile)}
    return tuple(sorted(sides))


def widths(space: Space, profile: Profile) -> tuple[float, ...]:
    """Every width of the family's networks, see `ModelConfig.width`, that a study of this profile can use."""
    models = (c.model for level in space.levels for c in sample_configurations(space, level, profile))
    return tuple(sorted({model.width for model in models if isinstance(model, ModelConfig)}))
