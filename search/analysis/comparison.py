"""From folds and predictions to the comparison and transfer tables: frames in, rows out; no files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from search.analysis.statistics import LevelComparison, compare_levels, interval_over_folds
from search.common.metrics import METRIC_NAMES, Metrics, score

Row = dict[str, Any]


def pooled_metrics(predictions: pd.DataFrame, classes: Sequence[str]) -> Metrics:
    """Metrics of all predictions taken together, as from one confusion matrix.

    Args:
        predictions: rows of the predictions table.
        classes: of their data set.
    """
    labels = pd.Categorical(predictions["label"], categories=list(classes)).codes.astype(np.int64)
    return score(labels, predictions[[f"probability_{name}" for name in classes]].to_numpy(float))


def compare_settings(
    folds: pd.DataFrame, predictions: pd.DataFrame, *, reference: str, metric: str, classes: Sequence[str]
) -> dict[str, Row]:
    """Compare the levels that were trained on the same folds.

    Args:
        folds, predictions: rows of the tables, with a column `level` that tells the rivals apart.
        reference: the level that differences and tests refer to; without it those columns stay empty.
        metric: that differences and tests are of.
        classes: of their data set.
    Returns:
        level -> the columns of the comparison table that follow from folds and predictions. Levels that lack a
        fold which another one has are left out.
    """
    predictions = predictions.sort_values(["repeat", "image"])  # so that images pair whatever their order was
    grouped = dict(_complete_levels(folds))
    if not grouped:
        return {}
    by_level = {str(level): rows for level, rows in predictions.groupby("level") if level in grouped}
    n_train, n_val = folds["n_train"].mean(), folds["n_val"].mean()
    scores = {level: rows[metric].to_numpy(float) for level, rows in grouped.items()}
    # Repeats would count an image several times over, and McNemar's test takes every image for a new one.
    correct = {
        level: (rows["label"] == rows["predicted"])[rows["repeat"] == rows["repeat"].min()].to_numpy()
        for level, rows in by_level.items()
    }
    compared: Mapping[str, LevelComparison] = {}
    if reference in scores:
        compared = compare_levels(scores, correct, reference, n_train, n_val)
    return {
        level: {
            "n_images": rows["image"].nunique(),
            **asdict(pooled_metrics(rows, classes)),
            **_over_folds(grouped[level], n_train, n_val),
            **(_differences(compared[level]) if level in compared else {}),
        }
        for level, rows in by_level.items()
    }


def _complete_levels(folds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The levels that have all folds, each with its folds in order, so that they pair."""
    wanted = folds[["repeat", "fold"]].drop_duplicates()
    for level, rows in folds.groupby("level", sort=False):
        if len(rows) == len(wanted):
            yield str(level), rows.sort_values(["repeat", "fold"])


def _over_folds(folds: pd.DataFrame, n_train: float, n_val: float) -> Row:
    row: Row = {}
    for name in METRIC_NAMES:
        interval = interval_over_folds(folds[name].to_numpy(float), n_train, n_val)
        row |= {f"{name}_mean": interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def _differences(compared: LevelComparison) -> Row:
    row: Row = {
        "p_holm": compared.p_holm,
        "p_mcnemar": compared.p_mcnemar,
        **asdict(compared.posterior),
    }
    for rival in ("reference", "best"):
        difference = getattr(compared, f"difference_{rival}")
        row |= {
            f"difference_{rival}": difference.mean,
            f"difference_{rival}_low": difference.low,
            f"difference_{rival}_high": difference.high,
        }
    return {name: None if np.isnan(value) else value for name, value in row.items()}
