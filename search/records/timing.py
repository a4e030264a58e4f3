"""The time a study spends, and on what."""

import time
from collections.abc import Mapping

from search.common.console import duration
from search.training.types import EpochScore

# Names in `study.json`, and how they are printed.
PARTS = {
    "training": "training",
    "validation": "validation",
    "preparing": "preparing images",
    "waiting": "waiting",
}


class Timing:
    """Adds up the time of a run's epochs, over all slots."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._spent = {"training": 0.0, "validation": 0.0, "preparing": 0.0}

    def add(self, epoch: EpochScore) -> None:
        """Count an epoch."""
        training = epoch.training
        self._spent["training"] += training.train_s - training.data_s
        self._spent["preparing"] += training.data_s
        self._spent["validation"] += epoch.val_s

    def so_far(self, slots: int) -> dict[str, float]:
        """Seconds elapsed, and seconds of all slots by what they were spent on."""
        return time_spent(time.monotonic() - self._started, slots, self._spent)


def time_spent(elapsed_s: float, slots: int, spent: Mapping[str, float]) -> dict[str, float]:
    """Seconds elapsed, and seconds of all slots by what they were spent on.

    The rest is waiting: starting workers, building networks, choosing parameters, writing, idle slots.
    """
    waiting = max(0.0, slots * elapsed_s - sum(spent.values()))
    return {"elapsed": elapsed_s, **spent, "waiting": waiting}


def added(earlier: Mapping[str, float], run: Mapping[str, float]) -> dict[str, float]:
    """The time of all runs of a study."""
    return {name: round(earlier.get(name, 0.0) + seconds, 3) for name, seconds in run.items()}


def described(run: Mapping[str, float], slots: int) -> str:
    """A run's time for a person, with shares of the time of its slots."""
    total = sum(run[name] for name in PARTS) or 1.0
    shares = ", ".join(f"{words} {run[name] / total:.0%}".replace("%", " %") for name, words in PARTS.items())
    return f"{duration(run['elapsed'])} on {slots} slot{'' if slots == 1 else 's'}: {shares}"
