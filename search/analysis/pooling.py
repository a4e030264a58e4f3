"""Scores of one network from its predictions and folds, as in the comparison and transfer tables."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from search.analysis.statistics import interval_over_folds
from search.common.metrics import METRIC_NAMES, Metrics, score


def pooled_metrics(predictions: pd.DataFrame, classes: Sequence[str]) -> Metrics:
    """Metrics of all predictions taken together, as from one confusion matrix.

    Args:
        predictions: rows of the predictions table.
        classes: of their data set.
    """
    labels = pd.Categorical(predictions["label"], categories=list(classes)).codes.astype(np.int64)
    return score(labels, predictions[[f"probability_{name}" for name in classes]].to_numpy(float))


def score_columns(folds: pd.DataFrame, predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of a network's row that depend on its folds and predictions alone.

    Args:
        folds, predictions: rows of these tables, of one network in one phase.
        classes: of their data set.
    """
    n_train, n_val = folds["n_train"].mean(), folds["n_val"].mean()
    columns: dict[str, Any] = {
        "n_images": predictions["image"].nunique(),
        **asdict(pooled_metrics(predictions, classes)),
    }
    for name in METRIC_NAMES:
        values = folds[name].to_numpy(float)
        if np.isnan(values).any():  # trained before there was such a metric
            continue
        interval = interval_over_folds(values, n_train, n_val)
        found = {f"{name}_mean": interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
        columns |= {column: None if np.isnan(value) else value for column, value in found.items()}
    return columns
