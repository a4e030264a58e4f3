"""Who looks on while a study runs, and what they are told. They change nothing, and no training waits for them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from search.records.schema import Key
from search.space import Params
from search.training.types import EpochScore


@dataclass(frozen=True, kw_only=True)
class Training:
    """A trial of the search, or a training of another phase.

    Attributes:
        key: as in the tables; a trial's has no fold.
        title: for a person, such as "trial 12, placement 1+2".
        n_train: images of an epoch.
        epochs: of a fold.
    """

    key: Key
    title: str
    params: Params
    n_train: int
    epochs: int


class Observer(Protocol):
    """Looks on from the driver; called from one thread, and must return at once."""

    def begin(self, training: Training) -> None:
        """A training begins, or goes on after its worker was lost or the study resumed."""
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
    """Tells several. One that raises is told no more, since a study is worth more than what is seen of it.

    Args:
        note: tells the user that one has failed.
    """

    def __init__(self, observers: Iterable[Observer], note: Callable[[str], None]) -> None:
        self._observers, self._note = list(observers), note

    def begin(self, training: Training) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.begin(training))

    def epoch(self, training: Training, fold: int, epoch: EpochScore) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.epoch(training, fold, epoch))

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.end(training, state, value))

    def tick(self) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.tick())

    def close(self) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.close())

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                tell(observer)
            except Exception as error:
                self._observers.remove(observer)
                name, kind = type(observer).__name__, type(error).__name__
                first_line = str(error).strip().partition("\n")[0]
                self._note(f"{name} failed, and is told no more: {kind}: {first_line}")
