"""Collapsed networks: they predict one class for almost every image, whatever it shows."""

import pandas as pd

PREDICTED_SHARE, TRUE_SHARE = 0.98, 0.9


def collapsed_folds(predictions: pd.DataFrame) -> dict[tuple[str, int], str]:
    """The levels that collapsed at a setting, and in how many folds, such as "3 of 10".

    A network collapsed in a fold if it predicts one class for at least 98 % of the images, of which at most 90 %
    are of one class.

    Args:
        predictions: rows of the predictions table, of one phase; those without a setting are left out.
    """
    rows = predictions[predictions["setting"].notna()]
    predicted, true = _largest_share(rows, "predicted"), _largest_share(rows, "label")
    collapsed = ((predicted >= PREDICTED_SHARE) & (true <= TRUE_SHARE)).rename("collapsed").reset_index()
    n_folds = collapsed.groupby(["level", "setting"], sort=False)["collapsed"].agg(["sum", "size"])
    return {
        (row["level"], int(row["setting"])): f"{row['sum']} of {row['size']}"
        for row in n_folds[n_folds["sum"] > 0].reset_index().to_dict("records")
    }


def _largest_share(predictions: pd.DataFrame, name: str) -> pd.Series:
    """The share of the most frequent class in a column, by level, setting, repeat and fold."""
    by = ["level", "setting", "repeat", "fold"]
    counts = predictions.groupby([*by, name], sort=False)[name].count()
    folds = counts.groupby(level=by, sort=False)
    shares: pd.Series = folds.max() / folds.sum()
    return shares
