"""Which configuration stands for a level, and which settings all levels share: rows of trials in, numbers out."""

import json
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
    for all levels. A trial that was stopped counts with its value where it stopped, a failed one as the worst.

    Args:
        trials: with `level`, `state`, `value`, `params` (without the factor).
    Returns:
        The parameters; None where no settings were tried at every level.
    """
    by_settings: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        by_settings.setdefault(json.dumps(trial["params"], sort_keys=True), {})[trial["level"]] = trial
    shared = [found for found in by_settings.values() if set(found) == set(levels)]
    if not shared:
        return None
    best = max(shared, key=lambda found: sum(_worth(trial) for trial in found.values()))
    return dict(best[levels[0]]["params"])


def _worth(trial: Trial) -> float:
    return 0.0 if trial["state"] == "FAIL" else trial["value"]
