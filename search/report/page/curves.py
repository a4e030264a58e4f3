"""The winner's learning curves as plain values, for the page's script to draw and to read off."""

from typing import Any

import pandas as pd

DIGITS = 5


def curves(epochs: pd.DataFrame, level: str) -> dict[str, Any] | None:
    """Accuracy and loss of every comparison fold after each epoch; the first repeat, so that folds have one line.

    Args:
        epochs: the epochs table.
        level: whose, at its tuned settings.
    Returns:
        `epochs`, `folds` (their numbers from 1) and `panels` of `name`, `train` and `val`, each a list of values
        by fold and epoch, None where a fold has none; None where there is nothing to draw.
    """
    if epochs.empty:
        return None
    own = epochs[(epochs["phase"] == "compare") & (epochs["level"] == level) & (epochs["settings"] == "tuned")]
    own = own[own["repeat"] == own["repeat"].min()]
    if own.empty:
        return None
    numbers = sorted(own["epoch"].unique())

    def by_fold(column: str) -> list[list[float | None]]:
        wide = own.pivot_table(index="fold", columns="epoch", values=column).reindex(columns=numbers)
        return [[None if pd.isna(v) else round(float(v), DIGITS) for v in fold] for fold in wide.to_numpy()]

    return {
        "epochs": [int(number) for number in numbers],
        "folds": [int(fold) + 1 for fold in sorted(own["fold"].unique())],
        "panels": [
            {"name": name, "train": by_fold(f"train_{name}"), "val": by_fold(f"val_{name}")}
            for name in ("accuracy", "loss")
        ],
    }
