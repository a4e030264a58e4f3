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
    found = {}
    for (level, _), own in predictions.groupby(["level", "setting"], sort=False):
        folds = own.groupby(["repeat", "fold"])
        predicted, true = (folds[name].agg(_largest_share) for name in ("predicted", "label"))
        n_collapsed = int(((predicted >= PREDICTED_SHARE) & (true <= TRUE_SHARE)).sum())
        if n_collapsed:
            found[str(level), int(own["setting"].iloc[0])] = f"{n_collapsed} of {len(predicted)}"
    return found


def _largest_share(names: pd.Series) -> float:
    return float(names.value_counts(normalize=True).max())
