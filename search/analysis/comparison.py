"""The rows of the comparison and transfer tables, computed from folds and predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.analysis.statistics import (
    Difference,
    LevelComparison,
    compare_levels,
    interval_over_folds,
    paired_difference,
)
from search.common.metrics import METRIC_NAMES, Metrics, score
from search.records.results import first_repeat

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """Scores of two networks on the folds that both finished.

    Attributes:
        a, b: shape (n_folds_total,), the same folds in the same order.
        n_train, n_val: images in the parts of a fold, on average.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    n_train: float
    n_val: float

    def __len__(self) -> int:
        return len(self.a)

    @property
    def difference(self) -> Difference:
        """Mean of a - b, with its interval and p value; needs at least one fold."""
        return paired_difference(self.a, self.b, self.n_train, self.n_val)


def pair(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> PairedScores:
    """Pair two networks' rows of the folds table by repeat and fold; a fold that one of them lacks is left out."""
    scores = [rows.set_index(["repeat", "fold"])[metric] for rows in (a, b)]
    both = pd.concat(scores, axis=1, join="inner", keys=["a", "b"]).dropna().sort_index()
    return PairedScores(
        a=both["a"].to_numpy(float),
        b=both["b"].to_numpy(float),
        n_train=a["n_train"].mean(),
        n_val=a["n_val"].mean(),
    )


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
        folds, predictions: rows of the tables; their column `level` names what is compared.
        reference: the level that differences and tests refer to; if it is missing, those columns stay empty.
        metric: the metric of differences and tests.
        classes: of their data set.
    Returns:
        level -> the columns of the comparison table that depend on folds and predictions. A level that lacks a
        fold which another one has is left out.
    """
    grouped = dict(_complete_levels(folds))
    if not grouped:
        return {}
    predictions = predictions.sort_values(["repeat", "image"])  # so that images pair
    by_level = {str(level): rows for level, rows in predictions.groupby("level") if level in grouped}
    n_train, n_val = folds["n_train"].mean(), folds["n_val"].mean()
    compared: Mapping[str, LevelComparison] = {}
    if reference in grouped:
        scores = {level: rows[metric].to_numpy(float) for level, rows in grouped.items()}
        # Each image once: McNemar's test would take repeats for new images.
        correct = {level: _is_correct(first_repeat(rows)) for level, rows in by_level.items()}
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


def _is_correct(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    return (predictions["label"] == predictions["predicted"]).to_numpy(bool)


def _complete_levels(folds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The levels that have all folds, each with its folds in order, so that they pair."""
    n_wanted = len(folds[["repeat", "fold"]].drop_duplicates())
    for level, rows in folds.groupby("level", sort=False):
        if len(rows) == n_wanted:
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
