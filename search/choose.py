"""Which configuration stands for a level, and which settings all levels share: rows of trials in, numbers out."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.space import Params

Trial = Mapping[str, Any]


def best_trials(trials: Sequence[Trial]) -> dict[str, Trial]:
    """The best complete trial of every level that has one; of equals, the first.

    Args:
        trials: with `number`, `level`, `state`, `value` (higher is better).
    """
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial["number"]):
        rival = best.get(trial["level"])
        if trial["state"] == "COMPLETE" and (rival is None or trial["value"] > rival["value"]):
            best[trial["level"]] = trial
    return best


def equal_settings(trials: Sequence[Trial], levels: Sequence[str]) -> Params | None:
    """The settings that are best on average over the levels.

    Only settings that every level tried can be compared so: the first points and the random start are the same
    for all levels. A level that has fewer parameters than others tried them if its own agree. A trial that was
    stopped counts with its value where it stopped, a failed one as the worst.

    Args:
        trials: with `level`, `state`, `value`, `params` (without the factor).
    Returns:
        The parameters; None where no settings were tried at every level.
    """
    best: Params | None = None
    best_worth = -1.0
    for settings in (trial["params"] for trial in trials):
        worths = [_worth_at(level, settings, trials) for level in levels]
        tried = [worth for worth in worths if worth is not None]
        if len(tried) == len(levels) and sum(tried) > best_worth:
            best, best_worth = dict(settings), sum(tried)
    return best


def _worth_at(level: str, settings: Params, trials: Sequence[Trial]) -> float | None:
    """What the settings were worth at a level; None if it did not try them."""
    for trial in trials:
        if trial["level"] == level and trial["params"].items() <= settings.items():
            return 0.0 if trial["state"] == "FAIL" else trial["value"]
    return None
