"""Predictions of a comparison as arrays over runs, levels and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.analysis.contrasts import Scores
from search.analysis.measures import Floats, Measure


@dataclass(frozen=True)
class Gathered:
    """What every level predicted for every image in every run.

    Attributes:
        levels: that finished all runs.
        missing: levels that did not.
        runs: setting and repeat of each run.
        probabilities: shape (n_runs, n_levels, n_images, n_classes).
        folds: shape (n_runs, n_images).
        labels: shape (n_images,), numbers of classes.
        groups: shape (n_images,); None if every image is its own.
    """

    levels: tuple[str, ...]
    missing: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]
    probabilities: Floats
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None

    @cached_property
    def settings(self) -> NDArray[np.int64]:
        """Setting of each run, shape (n_runs,)."""
        return np.array([setting for setting, _ in self.runs])

    def scores(self, measure: Measure) -> Scores:
        """Scores of single images."""
        return Scores(
            values=measure.scores(self.probabilities, self.labels),
            folds=self.folds,
            labels=self.labels,
            groups=self.groups,
            balanced=measure.balanced,
            inflation=measure.inflation,
        )

    def of_runs(self, chosen: NDArray[np.intp]) -> "Gathered":
        """Some of the runs, by their place."""
        return replace(
            self,
            runs=tuple(self.runs[place] for place in chosen),
            probabilities=self.probabilities[chosen],
            folds=self.folds[chosen],
        )


def gather(
    predictions: pd.DataFrame,
    levels: Sequence[str],
    classes: Sequence[str],
    groups: Mapping[str, str] | None = None,
) -> Gathered | None:
    """Arrange predictions by run, level and image.

    Args:
        predictions: rows of the predictions table, of one phase. The runs are their settings and repeats; a
            setting that is null counts as -1.
        levels: to gather, in order.
        classes: of the data set, in the order of their numbers.
        groups: image -> group.
    Returns:
        None if no level finished a run.
    """
    rows = predictions[predictions["level"].isin(levels)]
    rows = rows.assign(setting=rows["setting"].fillna(-1).astype(int), repeat=rows["repeat"].astype(int))
    runs = sorted(set(zip(rows["setting"], rows["repeat"], strict=True)), key=lambda run: (run[1], run[0]))
    images = sorted(rows["image"].unique())
    parts = {key: part.sort_values("image") for key, part in rows.groupby(["level", "setting", "repeat"])}
    whole = [level for level in levels if all(len(parts.get((level, *run), ())) == len(images) for run in runs)]
    if not runs or not whole:
        return None
    columns = [f"probability_{name}" for name in classes]
    of_first = [parts[(whole[0], *run)] for run in runs]
    return Gathered(
        levels=tuple(whole),
        missing=tuple(level for level in levels if level not in whole),
        runs=tuple(runs),
        probabilities=np.array(
            [[parts[(level, *run)][columns].to_numpy(float) for level in whole] for run in runs]
        ),
        folds=np.array([part["fold"].to_numpy(np.int64) for part in of_first]),
        labels=pd.Categorical(of_first[0]["label"], categories=list(classes)).codes.astype(np.int64),
        groups=None if groups is None else _numbers([groups[image] for image in images]),
    )


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
