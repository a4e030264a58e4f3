"""Replays of a recorded search: what would have been trained and chosen if trials had been stopped early.

All trials of a recording were trained in full, so any order and any pruner can be replayed on it. In a replay,
trials run one after another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from search.records.arguments import Pruner
from search.space import Params
from search.tuning.racing import Curve, should_stop

PARAMS_PREFIX = "params_"


@dataclass(frozen=True)
class Recorded:
    """Trial that was trained in full.

    Attributes:
        values: the searched metric after each epoch of each fold.
        value: the metric pooled over the folds, which decides between configurations.
    """

    level: str
    params: Params
    values: list[list[float]]
    value: float


@dataclass(frozen=True)
class Outcome:
    """End of a replayed trial: the number of epochs, and whether they were all."""

    epochs: int
    complete: bool


@dataclass
class Replay:
    """Replayed search, which takes one recorded trial after another.

    Attributes:
        best: level to the best value of its complete trials.
    """

    pruner: Pruner
    epochs: int = 0
    best: dict[str, float] = field(default_factory=dict)
    shown: dict[str, list[Curve]] = field(default_factory=dict)

    def run(self, trial: Recorded, *, last: bool = False) -> Outcome:
        """Train a trial for as long as the pruner allows.

        Args:
            last: no other trial of its level follows; if the level has no complete trial, other levels cannot
                stop it.
        """
        level = self.shown.setdefault(trial.level, [])
        others: list[Curve] = []
        if trial.level in self.best or not last:
            others = [p for name, shown in self.shown.items() if name != trial.level for p in shown if p.complete]
        curve = Curve()
        n_all = n_epochs([trial])
        steps = ((fold, value) for fold, values in enumerate(trial.values) for value in values)
        for epochs, (fold, value) in enumerate(steps, start=1):
            curve.add(fold, value)
            if epochs < n_all and should_stop(
                self.pruner, curve, level=level, others=others, n_epochs=len(trial.values[0])
            ):
                break
        curve.complete = epochs == n_all
        level.append(curve)
        self.epochs += epochs
        if curve.complete:
            self.best[trial.level] = max(trial.value, self.best.get(trial.level, trial.value))
        return Outcome(epochs, curve.complete)


def load(path: Path) -> list[Recorded]:
    """Trials of a recording, a Parquet file with one row per level, parameters, fold and epoch."""
    frame = pd.read_parquet(path)
    names = [name for name in frame.columns if name.startswith(PARAMS_PREFIX)]
    trials = []
    for _, rows in frame.sort_values(["fold", "epoch"], kind="stable").groupby(["level", *names], sort=False):
        first = rows.iloc[0]
        trials.append(
            Recorded(
                level=first["level"],
                params={name.removeprefix(PARAMS_PREFIX): first[name] for name in names},
                values=[fold["val_balanced_accuracy"].tolist() for _, fold in rows.groupby("fold")],
                value=float(first["value"]),
            )
        )
    return trials


def as_one_level(trials: Sequence[Recorded]) -> list[Recorded]:
    """The same trials as a single search, with the level as another parameter."""
    return [replace(trial, level="all", params={**trial.params, "level": trial.level}) for trial in trials]


def round_the_levels(trials: Sequence[Recorded]) -> list[Recorded]:
    """The same trials with the levels taking turns, as in a real search; the order within a level is kept."""
    turns = zip_longest(*by_level(trials).values())
    return [trial for turn in turns for trial in turn if trial is not None]


def replay(order: Sequence[Recorded], pruner: Pruner) -> Replay:
    """Run trials in the given order."""
    search = Replay(pruner)
    last = {trial.level: index for index, trial in enumerate(order)}
    for index, trial in enumerate(order):
        search.run(trial, last=index == last[trial.level])
    return search


def by_level(trials: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    """Level to its trials."""
    levels: dict[str, list[Recorded]] = {}
    for trial in trials:
        levels.setdefault(trial.level, []).append(trial)
    return levels


def n_epochs(trials: Sequence[Recorded]) -> int:
    """Number of epochs of all trials in full."""
    return sum(len(fold) for trial in trials for fold in trial.values)


def mean_regret(trials: Sequence[Recorded], chosen: Mapping[str, float]) -> float:
    """Mean loss over levels from choosing trials of the given values instead of the best."""
    levels = by_level(trials)
    lost = (max(trial.value for trial in of_level) - chosen[level] for level, of_level in levels.items())
    return sum(lost) / len(levels)
