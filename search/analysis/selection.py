"""Which configuration stands for a level, and which settings all levels share: rows of trials in, numbers out."""

from collections.abc import Mapping, Sequence
from operator import ge
from typing import Any

from search.space import Params

Trial = Mapping[str, Any]


def best_trials(trials: Sequence[Trial]) -> dict[str, Trial]:
    """The trial that stands for each level that has a complete one.

    Where finalists were confirmed, it is the one with the best confirmed value; else the one with the best value.

    Args:
        trials: with `number`, `level`, `state`, `value`, `confirmed_value` (higher is better).
    """
    best: dict[str, Trial] = {}
    for level, ranked in _ranked(trials).items():
        confirmed = [trial for trial in ranked if trial["confirmed_value"] is not None]
        best[level] = max(confirmed, key=lambda trial: trial["confirmed_value"]) if confirmed else ranked[0]
    return best


def finalists(trials: Sequence[Trial], n: int) -> list[Trial]:
    """The n best complete trials of every level, as the search has valued them."""
    return [trial for ranked in _ranked(trials).values() for trial in ranked[:n]]


def pareto_front(trials: Sequence[Trial], higher_is_better: Mapping[str, bool]) -> list[Trial]:
    """The complete trials that no other beats in one objective without losing in another, best first.

    Args:
        trials: with `state` and the objectives.
        higher_is_better: by name of the objective.
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
