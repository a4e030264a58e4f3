"""The rules of a search, and the states and records of its trials."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Literal

from search.common.metrics import Metrics
from search.common.seeds import derive_seed
from search.records.arguments import Pruner
from search.space import Configuration, Params, Profile, Space
from search.tuning.racing import FAILED, Block, Race

Direction = Literal["maximize", "minimize"]
# Levels that are searched together, see `Space.groups`.
Group = tuple[str, ...]


class State(StrEnum):
    """How a trial ended: after its last epoch, stopped early, or with an error."""

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


class Then(Enum):
    """What a trial does after an epoch: it goes on, makes room for others until its turn comes, or stops."""

    CONTINUE = auto()
    PAUSE = auto()
    STOP = auto()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What governs a search.

    Attributes:
        n_trials: over all levels, a multiple of their number.
        n_folds: that a trial is scored on.
        kept: settings that the comparison needs; the search stops none before it has as many.
        metric: one of `search.common.metrics.Metrics`, to be maximised; settings are stopped early by it.
        directions: maximize or minimize, by objective; the first objective is the metric.
        objectives: of a finished configuration, from its pooled metrics and its mean balanced accuracy on further
            laboratories, if there are any.
        seed: of the study; what is suggested depends on it, the setting's number and earlier results alone.
        costs: of a trial at each level, in any unit; of groups with as many settings, the cheaper is next.
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
    directions: Mapping[str, Direction]
    objectives: Callable[[Configuration, Metrics, float | None], tuple[float, ...]]
    costs: Mapping[str, float] = field(default_factory=dict)
    deadline: float = math.inf

    @property
    def n_settings(self) -> int:
        """Settings of each group of levels."""
        return self.n_trials // len(self.space.levels)

    def level(self, number: int) -> str:
        """Level of a trial: numbers go round the levels."""
        return self.space.levels[number % len(self.space.levels)]

    def setting(self, number: int) -> int:
        """Setting of a trial, counted from 0 within its group."""
        return number // len(self.space.levels)

    def number(self, setting: int, level: str) -> int:
        """Number of a setting's trial at a level."""
        return setting * len(self.space.levels) + self.space.levels.index(level)

    def title(self, number: int) -> str:
        """A trial's number and level for a person."""
        factor = self.space.factor
        return f"trial {number}" + ("" if factor is None else f", {factor} {self.level(number)}")

    def blocks(self, group: Group) -> list[tuple[str, int]]:
        """Level and fold of a setting's blocks, in the order in which all settings of a group race over them.

        It is random, but visits every level on a fold before any on the next.
        """
        order = []
        for fold in range(self.n_folds):
            levels = list(group)
            random.Random(derive_seed(self.seed, "blocks", fold)).shuffle(levels)
            order += [(level, fold) for level in levels]
        return order

    def race(self, group: Group) -> Race:
        """How settings of a group are stopped early."""
        n_blocks = len(group) * self.n_folds
        return Race(pruner=self.pruner, n_blocks=n_blocks, kept=self.kept, n_levels=len(group))


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """A trial that ended, as the study's tables hold it.

    Attributes:
        objectives: of a COMPLETE trial.
        values: searched metric after each epoch of each fold.
        folds_done: number of folds that are finished.
    """

    params: Params
    state: State
    objectives: tuple[float, ...] = ()
    values: list[list[float]] = field(default_factory=list)
    folds_done: int = 0
    error: str | None = None

    def block(self, fold: int) -> Block:
        """Its training on a fold; after a failure, every fold counts as 0."""
        if self.state == State.FAIL:
            return FAILED
        if fold >= len(self.values):
            return Block()
        n_epochs = len(self.values[0]) if self.folds_done else None
        return Block(values=self.values[fold], n_epochs=n_epochs, finished=fold < self.folds_done)
