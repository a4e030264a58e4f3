"""The rows of the effects table: every contrast of a comparison, each with one estimate, interval and p value."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from search.analysis.contrasts import (
    Estimates,
    Simultaneous,
    estimate,
    heterogeneity,
    probabilities,
    simultaneous,
)
from search.analysis.families import Contrast, Kind
from search.analysis.gathering import Gathered
from search.analysis.measures import Measure
from search.analysis.outcome import outcome

LEAST_FOLDS, LEAST_IMAGES, LEAST_GROUPS = 5, 5, 5
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A family of contrasts by one measure.

    Attributes:
        found: estimates with their errors.
        adjusted: intervals and p values; None where the data are too few to judge.
    """

    contrasts: Sequence[Contrast]
    measure: Measure
    margin: float
    n_runs: int
    looks: Sequence[int]
    found: Estimates
    adjusted: Simultaneous | None

    def rows(self) -> list[Row]:
        """One row of the effects table for each contrast, without the study's part of the key."""
        return [self._row(number, contrast) for number, contrast in enumerate(self.contrasts)]

    def _row(self, number: int, contrast: Contrast) -> Row:
        size, se = float(self.found.estimate[number]), float(self.found.se[number])
        row: Row = {
            "level": contrast.level,
            "metric": self.measure.name,
            "contrast": contrast.name,
            "kind": contrast.kind,
            "estimate": size,
            "se": se,
            "df": self.found.df,
            "n_runs": self.n_runs,
            "looks": len(self.looks),
        }
        if self.adjusted is None:
            return row
        low, high = float(self.adjusted.low[number]), float(self.adjusted.high[number])
        margin = self.margin if self.measure.has_margin else None
        row |= {
            "low": low,
            "high": high,
            "p": float(self.adjusted.p[number]),
            "outcome": outcome(low, high, margin),
        }
        if margin is not None:
            better, equal, worse = probabilities(size, se, self.found.df, margin)
            row |= {"p_better": better, "p_equal": equal, "p_worse": worse}
        return row


def judge(
    gathered: Gathered, contrasts: Sequence[Contrast], measure: Measure, margin: float, looks: Sequence[int] = (1,)
) -> Judged:
    """Judge a family of contrasts by one measure.

    Args:
        contrasts: of `gathered.levels`.
        margin: see `search.analysis.outcome`.
        looks: number of runs at every planned look.
    """
    found = estimate(gathered.scores(measure), np.array([contrast.weights for contrast in contrasts]))
    return Judged(
        contrasts=contrasts,
        measure=measure,
        margin=margin,
        n_runs=len(gathered.runs),
        looks=looks,
        found=found,
        adjusted=None if lacking(gathered) else simultaneous(found, looks),
    )


def by_setting(gathered: Gathered, contrasts: Sequence[Contrast], measure: Measure) -> list[Row]:
    """The contrasts at every setting, and one test of whether they differ between settings.

    Their p values and intervals are null: a contrast has only one, over all settings.
    """
    numbers = np.unique(gathered.settings)
    if len(numbers) < 2:
        return []
    weights = np.array([contrast.weights for contrast in contrasts])
    rows = []
    for number in numbers:
        part = gathered.of_runs(np.flatnonzero(gathered.settings == number))
        found = estimate(part.scores(measure), weights)
        for contrast, size, se in zip(contrasts, found.estimate, found.se, strict=True):
            about = {"level": contrast.level, "setting": int(number), "metric": measure.name}
            shown = {"contrast": contrast.name, "kind": contrast.kind, "n_runs": len(part.runs)}
            rows.append({**about, **shown, "estimate": float(size), "se": float(se), "df": found.df})
    p = nan if lacking(gathered) else heterogeneity(gathered.scores(measure), weights, gathered.settings)
    test: Row = {"metric": measure.name, "contrast": "differences between settings", "kind": Kind.HETEROGENEITY}
    return [*rows, {**test, "p": None if np.isnan(p) else p, "n_runs": len(gathered.runs)}]


def lacking(gathered: Gathered) -> str | None:
    """What is missing to judge contrasts at all; None if nothing is."""
    n_folds = sum(len(np.unique(folds)) for folds in gathered.folds)
    if n_folds < LEAST_FOLDS:
        return f"{LEAST_FOLDS} folds over all runs (it has {n_folds})"
    fewest = int(np.unique(gathered.labels, return_counts=True)[1].min())
    if fewest < LEAST_IMAGES:
        return f"{LEAST_IMAGES} images of every class (the smallest has {fewest})"
    if gathered.groups is not None and len(np.unique(gathered.groups)) < LEAST_GROUPS:
        return f"{LEAST_GROUPS} groups (it has {len(np.unique(gathered.groups))})"
    return None
