"""Observers of a running study: gauges and live logs. They change nothing, and no training waits for them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from search.data.splits import Indices
from search.records.schema import Key, Phase
from search.space import Params
from search.training.types import EpochScore


@dataclass(frozen=True, kw_only=True)
class Training:
    """A trial of the search, or one training of a later phase.

    Attributes:
        key: as in the tables; a trial's has no fold.
        title: for a person, such as "trial 12, placement 1+2".
        n_train: images per epoch.
        epochs: per fold.
        validation: image indices of each fold's validation split.
        cost: of the whole training, in the unit of the plan.
    """

    key: Key
    title: str
    params: Params
    n_train: int
    epochs: int
    validation: tuple[Indices, ...] = ()
    cost: float = 0.0

    @property
    def epoch_cost(self) -> float:
        """Cost of one epoch."""
        return self.cost / (self.epochs * len(self.validation))

    def row_key(self, fold: int) -> Key:
        """Key of a fold's rows: a trial has several folds, every other training is one fold."""
        return replace(self.key, repeat=0, fold=fold) if self.key.phase == Phase.SEARCH else self.key


class Observer(Protocol):
    """Is notified in the driver, from one thread, and must return at once."""

    def begin(self, training: Training) -> None:
        """A training begins, or resumes after its worker was lost or the study was resumed."""
        ...

    def epoch(self, training: Training, fold: int, epoch: EpochScore) -> None:
        """An epoch is done; `fold` counts within a trial, and is 0 elsewhere."""
        ...

    def end(self, training: Training, state: str, value: float | None) -> None:
        """A training ended as COMPLETE, PRUNED or FAIL, with its score if it has one."""
        ...

    def tick(self) -> None:
        """Some time has passed; called a few times a second while a phase trains."""
        ...

    def close(self) -> None:
        """The study ends, well or not."""
        ...


class Observers:
    """Notifies several observers. One that raises is disabled: it must not stop the study.

    Args:
        note: tells the user that an observer failed.
    """

    def __init__(self, observers: Iterable[Observer], note: Callable[[str], None]) -> None:
        self._observers, self._note = list(observers), note

    def begin(self, training: Training) -> None:
        """A training begins."""
        self._notify(lambda observer: observer.begin(training))

    def epoch(self, training: Training, fold: int, epoch: EpochScore) -> None:
        """An epoch is done."""
        self._notify(lambda observer: observer.epoch(training, fold, epoch))

    def end(self, training: Training, state: str, value: float | None) -> None:
        """A training ended."""
        self._notify(lambda observer: observer.end(training, state, value))

    def tick(self) -> None:
        """Some time has passed."""
        self._notify(lambda observer: observer.tick())

    def close(self) -> None:
        """The study ends."""
        self._notify(lambda observer: observer.close())

    def _notify(self, call: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                call(observer)
            except Exception as error:
                self._observers.remove(observer)
                self._note(f"{type(observer).__name__} failed and is disabled: {describe_error(error)}")


def describe_error(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
