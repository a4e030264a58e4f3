"""Choice of the configurations that represent the levels, and of the settings that all levels share."""

from collections.abc import Mapping, Sequence
from operator import ge
from typing import Any

from search.space import Params

Trial = Mapping[str, Any]


def best_trials(trials: Sequence[Trial]) -> dict[str, Trial]:
    """The trial that represents each level that has a complete one.

    It has the best confirmed value if finalists were confirmed, otherwise the best value.

    Args:
        trials: with `number`, `level`, `state`, `value`, `confirmed_value` (higher is better).
    """
    best: dict[str, Trial] = {}
    for level, ranked in _ranked(trials).items():
        confirmed = [trial for trial in ranked if trial["confirmed_value"] is not None]
        best[level] = max(confirmed, key=lambda trial: trial["confirmed_value"]) if confirmed else ranked[0]
    return best


def finalists(trials: Sequence[Trial], n: int) -> list[Trial]:
    """The n complete trials of every level with the best values in the search."""
    return [trial for ranked in _ranked(trials).values() for trial in ranked[:n]]


def pareto_front(trials: Sequence[Trial], higher_is_better: Mapping[str, bool]) -> list[Trial]:
    """The complete trials that no other dominates, best first.

    Args:
        trials: with `state` and the objectives.
        higher_is_better: objective -> whether more of it is better.
    """
    complete = [trial for trial in trials if trial["state"] == "COMPLETE"]

    def worth(trial: Trial) -> tuple[float, ...]:
        return tuple(trial[name] if higher else -trial[name] for name, higher in higher_is_better.items())

    worths = [worth(trial) for trial in complete]
    front = [
        (own, trial)
        for own, trial in zip(worths, complete, strict=True)
        if not any(other != own and all(map(ge, other, own)) for other in worths)
    ]
    return [trial for _, trial in sorted(front, key=lambda entry: entry[0], reverse=True)]


def _ranked(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The complete trials of each level, best first; of equals, the first."""
    ranked: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial["number"]):
        if trial["state"] == "COMPLETE":
            ranked.setdefault(trial["level"], []).append(trial)
    return {level: sorted(found, key=lambda trial: -trial["value"]) for level, found in ranked.items()}


def equal_settings(trials: Sequence[Trial], levels: Sequence[str]) -> Params | None:
    """The settings that are best on average over the levels.

    Only settings that every level tried are comparable; the first points and the random start are the same for all
    levels. A level with fewer parameters than others tried the settings if its own parameters agree with them. A
    pruned trial counts with the value at which it stopped, a failed one with the worst.

    Args:
        trials: with `level`, `state`, `value`, `params` (without the factor).
    Returns:
        The parameters; None if no settings were tried at every level.
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
    """The value of the settings at a level; None if it did not try them."""
    for trial in trials:
        if trial["level"] == level and trial["params"].items() <= settings.items():
            return 0.0 if trial["state"] == "FAIL" else trial["value"]
    return None
