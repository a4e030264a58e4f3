"""A space: the allowed configurations, and the factor whose levels a study compares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from search.space.configuration import Configuration
from search.space.profile import PAPER_PROFILE, QUICK_PROFILES, Profile
from search.space.suggest import Params, RandomSuggester, Suggester

# Levels that a comparison adds to those of the space: the paper's networks at the paper's settings.
PAPER_LEVELS = ("paper_plain", "paper_wbcsnet2")
# The level of a negative control: the reference once more, with seeds of its own.
CONTROL_LEVEL = "control"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A question about several levels at once: what one change does, averaged over everything else.

    Attributes:
        name: of the change, such as "block at stage 1".
        levels: that have it; the effect is their mean minus the mean of all other levels.
    """

    name: str
    levels: tuple[str, ...]


def effects_of_parts(levels: Sequence[str], names: Mapping[str, str]) -> tuple[Effect, ...]:
    """The effects of the parts that levels such as "1+2" are made of.

    Args:
        names: part -> name of its effect.
    """
    return tuple(
        Effect(name=name, levels=tuple(level for level in levels if part in level.split("+")))
        for part, name in names.items()
    )


@dataclass(frozen=True, kw_only=True)
class Space:
    """The allowed configurations, and the factor whose levels a study compares.

    Attributes:
        question: the question that a study of this space answers; shown on the console and in the report.
        configure: (suggester, level, profile) -> Configuration. Asks the suggester for every parameter that
            varies; which parameters it asks for may depend on earlier answers (conditional parameters).
        paper: the profile with the paper's width and epochs, for `--profile paper`.
        quick: profiles from large to small for `--profile quick`; a study takes the first that fits its time.
        factor: name of the compared parameter; None if the space compares nothing.
        levels: values of the factor.
        settings: "shared" tries every setting at every level: within a setting, a parameter that `configure` asks
            for under one name and range has one value at all levels. "own" searches every level by itself, with
            the same number of trials, for levels that need different settings. Without a factor it makes no
            difference.
        reference: the level that the others are compared with.
        effects: asked about besides the differences from the reference.
        first_points: (level, profile) -> parameters to try before all others; every point names all parameters
            that `configure` asks for at that level.
        paper_networks: compare the paper's two networks as well, at the paper's settings, and set the paper's
            figures beside the study's on its page. For a space that is not about the paper, False.
    """

    question: str
    configure: Callable[[Suggester, str, Profile], Configuration]
    paper: Profile = PAPER_PROFILE
    quick: tuple[Profile, ...] = QUICK_PROFILES
    factor: str | None = None
    levels: tuple[str, ...] = ("all",)
    settings: Literal["shared", "own"] = "shared"
    reference: str = "paper_plain"
    effects: tuple[Effect, ...] = ()
    first_points: Callable[[str, Profile], tuple[Params, ...]] = field(default=lambda level, profile: ())
    paper_networks: bool = True

    @property
    def paper_levels(self) -> tuple[str, ...]:
        """Levels that are compared beside those of the space."""
        return PAPER_LEVELS if self.paper_networks else ()

    @property
    def shares_settings(self) -> bool:
        """Whether all levels are tried at the same settings."""
        return self.factor is not None and self.settings == "shared"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The levels, grouped by those that are searched together."""
        return (self.levels,) if self.shares_settings else tuple((level,) for level in self.levels)


def sample(space: Space, level: str, profile: Profile, n: int) -> list[Configuration]:
    """Draw n configurations of a level; every call gives the same ones."""
    return [space.configure(RandomSuggester(seed), level, profile) for seed in range(n)]
