"""A setting of a search, and the trials that it consists of.

A setting is one draw of parameters for a group of levels, and one trial at each of them.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from search.common.metrics import Metrics
from search.space import Configuration, Params
from search.tuning.optuna_studies import Asked
from search.tuning.racing import Block, Curve
from search.tuning.rules import RecordedTrial, State


@dataclass
class OpenTrial:
    """A trial that has not ended: it is running, or waits to be given out, for the first time or again.

    Attributes:
        values: searched metric after each epoch of each fold.
        paused: its worker is to let another trial of the setting go first.
    """

    number: int
    level: str
    title: str
    params: Params
    configuration: Configuration
    values: list[list[float]] = field(default_factory=list)
    train_s: float = 0.0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    pooled: Metrics | None = None
    shift_balanced_accuracy: float | None = None
    paused: bool = False

    @property
    def epochs(self) -> int:
        """Epochs trained, over all folds."""
        return sum(map(len, self.values))

    @property
    def folds_done(self) -> int:
        """Folds finished."""
        return sum(self.block(fold).finished for fold in range(len(self.values)))

    def block(self, fold: int) -> Block:
        """Its training on a fold."""
        if fold >= len(self.values):
            return Block()
        values, n_epochs = self.values[fold], self.configuration.training.epochs
        return Block(values=values, n_epochs=n_epochs, finished=len(values) == n_epochs)


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """How a trial ended; `value` is None if it failed or never began, `error` if it did not fail."""

    trial: OpenTrial
    state: State
    value: float | None
    error: str | None
    completed: datetime


@dataclass(eq=False)
class Setting:
    """A setting that was begun.

    Attributes:
        pending, ended: its trials by level.
        dropped: it was stopped early; what still runs stops after its next epoch.
        curve: see `racing.Curve`.
        seen: points of the curve at which it is known not to stop.
        reported: blocks reported to Optuna.
    """

    asked: Asked
    pending: dict[str, OpenTrial] = field(default_factory=dict)
    ended: dict[str, RecordedTrial] = field(default_factory=dict)
    dropped: bool = False
    curve: Curve = field(default_factory=lambda: Curve(blocks=()))
    seen: int = 0
    reported: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all trials are complete."""
        n_complete = sum(trial.state == State.COMPLETE for trial in self.ended.values())
        return n_complete == len(self.asked.group)
