"""Failures of trainings, and which of them are retried.

A training that lost its worker or ran out of memory is retried once, with one training fewer beside it, since it
may have been short of memory. The second time it fails.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Why a training failed, in one line.

    Attributes:
        retry: it may succeed with more memory.
    """

    reason: str
    retry: bool = False


class Retries:
    """Trainings that were retried, by number."""

    def __init__(self) -> None:
        self._retried: set[int] = set()

    def allow(self, number: int, failure: Failure) -> bool:
        """Whether a failed training is to be retried; counts the retry."""
        allowed = failure.retry and number not in self._retried
        if allowed:
            self._retried.add(number)
        return allowed

    def reason(self, number: int, failure: Failure) -> str:
        """Why a training failed for good."""
        return f"{failure.reason}, twice" if failure.retry and number in self._retried else failure.reason

    def slots(self, slots: int, running: Iterable[int], waiting: Iterable[int]) -> int:
        """How many may run at once: one fewer while a retry runs, or is the next to run."""
        following = list(waiting)[:1]
        return slots if self._retried.isdisjoint([*running, *following]) else max(1, slots - 1)


def failure_of(error: BaseException) -> Failure:
    """An exception of a training as a failure."""
    import torch  # the driver imports this module too, and should not wait for torch

    first_line = str(error).strip().partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Failure(f"out of memory: {first_line}" if first_line else "out of memory", retry=True)
    return Failure(f"{type(error).__name__}: {first_line}")


def lost_worker(ran_s: float, timeout_s: float | None) -> Failure:
    """The failure of a training whose worker was lost.

    Args:
        ran_s: seconds the training had run.
        timeout_s: after which a worker ends itself; None sets no limit.
    """
    if timeout_s is not None and ran_s >= timeout_s:
        return Failure(f"it did not end within {timeout_s:g} s (--trial-timeout)")
    return Failure("its worker was lost: killed, perhaps for memory, or gone with its machine", retry=True)
