"""The rules of a search, and the states and records of its trials."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Literal

from search.common.metrics import Metrics
from search.common.seeds import derive_seed
from search.records.arguments import Pruner
from search.space import Configuration, Params, Profile, Space

Direction = Literal["maximize", "minimize"]
Block = tuple[str, int]


class State(StrEnum):
    """How a trial ended: after its last epoch, stopped early, or with an error."""

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What governs a search.

    A setting is one draw of parameters for a group of levels, see `Space.groups`: for all levels if they share
    settings, else for one. It is tried at each of them, one trial each.

    Attributes:
        n_trials: over all levels, a multiple of their number.
        n_folds: that a trial is scored on.
        kept: settings of a group that the study will go on with.
        metric: one of `search.common.metrics.Metrics`, to be maximised; trials are stopped early by it.
        directions: maximize or minimize, for each objective; the first objective is the metric.
        objectives: of a finished configuration, from its pooled metrics.
        seed: of the study; what is suggested depends on it, the setting's number and earlier results alone.
        deadline: time.monotonic() after which only groups without a whole setting get new ones.
    """

    space: Space
    profile: Profile
    n_trials: int
    n_folds: int
    kept: int
    metric: str
    seed: int
    sampler: str
    pruner: Pruner
    directions: tuple[Direction, ...]
    objectives: Callable[[Configuration, Metrics], tuple[float, ...]]
    deadline: float = math.inf

    @property
    def n_settings(self) -> int:
        """Settings of each group."""
        return self.n_trials // len(self.space.levels)

    def number(self, setting: int, level: str) -> int:
        """Number of a trial: numbers go round the levels, whoever shares settings."""
        return setting * len(self.space.levels) + self.space.levels.index(level)

    def level(self, number: int) -> str:
        """Level of a trial."""
        return self.space.levels[number % len(self.space.levels)]

    def setting(self, number: int) -> int:
        """Setting of a trial."""
        return number // len(self.space.levels)

    def blocks(self, group: tuple[str, ...]) -> tuple[Block, ...]:
        """Levels and folds in the order in which a setting is tried: one fold at every level, then the next fold.

        The order is random, and the same for all settings, so that their first blocks can be compared.
        """
        random = Random(derive_seed(self.seed, "blocks"))
        return tuple((level, fold) for fold in range(self.n_folds) for level in random.sample(group, len(group)))

    def title(self, number: int) -> str:
        """A trial's number and level for a person."""
        factor = self.space.factor
        return f"trial {number}" + ("" if factor is None else f", {factor} {self.level(number)}")


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """A trial that ended in an earlier run, from the study's tables.

    Attributes:
        objectives: of a COMPLETE trial.
        values: searched metric after each epoch of each fold.
    """

    params: Params
    state: State
    objectives: tuple[float, ...] = ()
    values: list[list[float]] = field(default_factory=list)
    error: str | None = None
