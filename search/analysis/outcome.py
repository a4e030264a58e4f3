"""What an interval says about a difference, given what difference would matter."""

from enum import StrEnum


class Outcome(StrEnum):
    """What is known of a contrast; values as in the effects table."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "practically the same"
    OPEN = "open"


def outcome(low: float, high: float, margin: float | None) -> Outcome:
    """Judge a contrast by its interval.

    Args:
        margin: largest difference that does not matter; None where no difference is too small to matter.
    """
    if low == high == 0 or (margin is not None and -margin <= low and high <= margin):
        return Outcome.SAME
    if low > 0:
        return Outcome.BETTER
    return Outcome.WORSE if high < 0 else Outcome.OPEN
