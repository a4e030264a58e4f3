"""The rules of a search, and the states and records of its trials."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from search.common.metrics import Metrics
from search.records.arguments import Pruner
from search.space import Configuration, Params, Profile, Space

Direction = Literal["maximize", "minimize"]


class State(StrEnum):
    """How a trial ended: after its last epoch, stopped early, or with an error."""

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What governs a search.

    Attributes:
        n_trials: over all levels, a multiple of their number.
        metric: one of `search.common.metrics.Metrics`, to be maximised; trials are stopped early by it.
        directions: maximize or minimize, for each objective; the first objective is the metric.
        objectives: of a finished configuration, from its pooled metrics.
        seed: of the study; what is suggested depends on it, the trial's number and earlier results alone.
        deadline: time.monotonic() after which only levels without a complete trial get new ones.
    """

    space: Space
    profile: Profile
    n_trials: int
    metric: str
    seed: int
    sampler: str
    pruner: Pruner
    directions: tuple[Direction, ...]
    objectives: Callable[[Configuration, Metrics], tuple[float, ...]]
    deadline: float = math.inf

    @property
    def n_per_level(self) -> int:
        """Trials of each level."""
        return self.n_trials // len(self.space.levels)

    def level(self, number: int) -> str:
        """Level of a trial: numbers go round the levels."""
        return self.space.levels[number % len(self.space.levels)]

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
