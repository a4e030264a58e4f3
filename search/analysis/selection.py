"""Choice of the settings that levels are compared at, from the trials of a search."""

from collections.abc import Mapping, Sequence
from operator import ge
from typing import Any

from search.space import Params

Trial = Mapping[str, Any]


def kept_settings(trials: Sequence[Trial], n: int) -> list[int]:
    """The n settings with the best mean value over the levels, best first.

    A setting is kept for its mean, never for the level that it suits best: otherwise luck in tuning would look
    like a difference between levels.

    Args:
        trials: of levels that share settings, with `number`, `level`, `setting`, `state`, `value`.
    Returns:
        Numbers of settings. Settings whose trials are all complete come first; if there are too few of them, those
        with the most complete trials follow, a missing one counting as 0.
    """
    n_levels = len({trial["level"] for trial in trials})
    values: dict[int, list[float]] = {}
    for trial in sorted(trials, key=lambda trial: trial["number"]):
        if trial["state"] == "COMPLETE":
            values.setdefault(int(trial["setting"]), []).append(trial["value"])
    most = max(map(len, values.values()), default=0)
    # Settings that were dropped are no rivals, unless every setting lacks the same number of levels.
    whole = [setting for setting, found in values.items() if len(found) == most]
    return sorted(whole, key=lambda setting: -sum(values[setting]) / n_levels)[:n]


def collapses(trials: Sequence[Trial], kept: Sequence[int]) -> list[tuple[int, str]]:
    """Settings that were not kept because of one level: without it, they score better than every kept one.

    Args:
        trials: as in `kept_settings`.
    Returns:
        Setting and level.
    """
    values: dict[int, dict[str, float]] = {}
    for trial in trials:
        if trial["state"] == "COMPLETE":
            values.setdefault(int(trial["setting"]), {})[str(trial["level"])] = trial["value"]
    n_levels = len({trial["level"] for trial in trials})
    found = []
    for setting, own in values.items():
        if setting in kept or len(own) < n_levels or n_levels < 3:
            continue
        worst = min(own, key=lambda level: own[level])
        others = [level for level in own if level != worst]
        rivals = [values[rival] for rival in kept]
        if all(sum(own[level] for level in others) > sum(rival[level] for level in others) for rival in rivals):
            found.append((setting, worst))
    return found


def setting_params(trials: Sequence[Trial], setting: int) -> dict[str, Params]:
    """level -> parameters of the complete trials of a setting."""
    return {
        str(trial["level"]): trial["params"]
        for trial in trials
        if trial["setting"] == setting and trial["state"] == "COMPLETE"
    }


def kept_trials(trials: Sequence[Trial], n: int) -> dict[str, list[Trial]]:
    """The n best trials of each level that has a complete one, best first.

    Confirmed trials come first, by their confirmed value, then the others by their value.

    Args:
        trials: with `number`, `level`, `state`, `value`, `confirmed_value` (higher is better).
    """

    def worth(trial: Trial) -> tuple[bool, float]:
        confirmed = trial["confirmed_value"]
        return (confirmed is not None, trial["value"] if confirmed is None else confirmed)

    return {level: sorted(ranked, key=worth, reverse=True)[:n] for level, ranked in _ranked(trials).items()}


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
