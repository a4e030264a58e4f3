"""Rows of the tables transfer and shift: networks that score another laboratory as they are."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from search.analysis.untouched import untouched_columns
from search.data.imageset import ImageSet
from search.records.schema import Key, Phase
from search.space import CONTROL_LEVEL, PAPER_LEVELS
from search.study.comparing import Candidate
from search.study.context import Study


def untouched_rows(study: Study, winner: Candidate, target: ImageSet) -> list[dict[str, Any]]:
    """A row for every level's networks of the comparison, and for each way of the winner's in the test phase."""
    predictions = study.frame("predictions", Phase.UNTOUCHED)
    compared = predictions["repeat"].notna()
    return [
        *_levels(study, predictions[compared], target, Phase.UNTOUCHED),
        *_tested(study, predictions[~compared], winner, target),
    ]


def shift_rows(study: Study) -> list[dict[str, Any]]:
    """A row for every level's networks of the comparison on each further laboratory."""
    predictions, rows = study.frame("predictions", Phase.SHIFT), []
    for data in study.reports:
        own = predictions[predictions["data"] == data.source]
        for row in _levels(study, own, data, Phase.SHIFT):
            rows.append({**row, "trained_on": study.source.source})
    return rows


def _levels(study: Study, predictions: pd.DataFrame, target: ImageSet, phase: Phase) -> Iterator[dict[str, Any]]:
    for level in (*study.space.levels, CONTROL_LEVEL, *PAPER_LEVELS):
        own = predictions[predictions["level"] == level]
        if len(own):
            key = Key(phase=phase, level=level, way="untouched", data=target.source)
            yield {**asdict(key), **_columns(study, own, target)}


def _tested(
    study: Study, predictions: pd.DataFrame, winner: Candidate, target: ImageSet
) -> Iterator[dict[str, Any]]:
    """The one network that is saved, trained on the whole development set."""
    key = replace(winner.key(Phase.UNTOUCHED, target), way=None)
    for way, own in predictions.groupby("way", sort=False):
        yield {
            **asdict(replace(key, way=str(way))),
            **{f"params_{name}": value for name, value in winner.params.items()},
            **_columns(study, own, target),
        }


def _columns(study: Study, predictions: pd.DataFrame, target: ImageSet) -> dict[str, Any]:
    groups = None if target.groups is None else dict(zip(target.names, target.groups, strict=True))
    overlap = 1 / (study.plan.folds - 1)
    return untouched_columns(predictions, study.source.classes, overlap=overlap, groups=groups)
