"""Luck in tuning: how far a level's best trial depends on which trials it happened to try."""

import numpy as np
import pandas as pd

DRAWS = 1000


def tuning_luck(trials: pd.DataFrame) -> float:
    """Standard deviation, due to tuning alone, of a difference between two levels that were tuned by themselves.

    A level's trials are drawn again with replacement, and the best of them is taken each time.

    Args:
        trials: rows of the trials table.
    Returns:
        A fraction, as the trials' values; NaN if no level has two complete trials.
    """
    random = np.random.default_rng(0)
    variances = []
    for _, own in trials[trials["state"] == "COMPLETE"].groupby("level"):
        values = own["value"].to_numpy(float)
        if len(values) > 1:
            best = values[random.integers(len(values), size=(DRAWS, len(values)))].max(1)
            variances.append(best.var())
    return float(np.sqrt(2 * np.mean(variances))) if variances else float("nan")
