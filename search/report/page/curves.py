"""The winner's learning curves as plain values for the page's script."""

from typing import Any

import pandas as pd

DIGITS = 5


def curves(epochs: pd.DataFrame) -> dict[str, Any] | None:
    """Accuracy and loss after each epoch, by fold.

    Args:
        epochs: rows of the epochs table, one per fold and epoch.
    Returns:
        `epochs`, `folds` (numbered from 1) and `panels` of `name`, `train` and `val`, each a list of values by
        fold and epoch, None where a fold has no value; None without rows, or with one epoch alone.
    """
    numbers = sorted(epochs["epoch"].unique())
    if len(numbers) < 2:
        return None

    def by_fold(column: str) -> list[list[float | None]]:
        wide = epochs.pivot_table(index="fold", columns="epoch", values=column).reindex(columns=numbers)
        return [[None if pd.isna(v) else round(float(v), DIGITS) for v in fold] for fold in wide.to_numpy()]

    return {
        "epochs": [int(number) for number in numbers],
        "folds": [int(fold) + 1 for fold in sorted(epochs["fold"].unique())],
        "panels": [
            {"name": name, "train": by_fold(f"train_{name}"), "val": by_fold(f"val_{name}")}
            for name in ("accuracy", "loss")
        ],
    }
