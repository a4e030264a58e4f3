"""What every level confuses, how it learns and how sure it is: aggregates of its trainings in the comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from search.common.metrics import confusion_matrix
from search.records.results import Results
from search.report.figures.confusion import calibration_bins
from search.report.format import missing

DIGITS = 4
MOST_MISTAKES, MOST_OF_A_PAIR = 120, 4


def by_level(results: Results, levels: Sequence[str]) -> dict[str, Any]:
    """Aggregates of every level over all of its runs.

    Returns:
        `classes`; `images` that a level mistakes, as (name, number of its class); and `details`, one for each
        level, None where it was not compared.
    """
    classes = list(results.description.source[1].classes)
    images: dict[str, tuple[int, int]] = {}  # name -> its number, and its class
    details: list[dict[str, Any] | None] = []
    for level in levels:
        predictions, epochs = (results.compared(table, level) for table in ("predictions", "epochs"))
        predictions = predictions[predictions["label"].isin(classes) & predictions["predicted"].isin(classes)]
        if predictions.empty:
            details.append(None)
            continue
        label, predicted = (
            pd.Categorical(predictions[name], categories=classes).codes.astype(np.int64)
            for name in ("label", "predicted")
        )
        details.append(
            {
                "confusion": confusion_matrix(label, predicted, len(classes)).tolist(),
                "n_runs": int(predictions.groupby(["setting", "repeat"], dropna=False).ngroups),
                "mistakes": _mistakes(predictions, classes, images),
                "reliability": _reliability(predictions, classes),
                "curves": learning_curves(epochs),
            }
        )
    return {
        "classes": classes,
        "images": [(name, label) for name, (_, label) in images.items()],
        "details": details,
    }


def learning_curves(epochs: pd.DataFrame) -> dict[str, Any] | None:
    """Accuracy and loss after each epoch: mean, lowest and highest of the trainings.

    Args:
        epochs: rows of the epochs table, one per training and epoch.
    Returns:
        `epochs`, and for each column a list of `mean`, `low` and `high` by epoch; None with fewer than two epochs.
    """
    numbers = sorted(epochs["epoch"].dropna().unique())
    if len(numbers) < 2:
        return None
    curves: dict[str, Any] = {"epochs": [int(number) for number in numbers]}
    for name in ("train_accuracy", "val_accuracy", "train_loss", "val_loss"):
        several = epochs.groupby("epoch")[name].agg(["mean", "min", "max"]).reindex(numbers)
        curves[name] = [[_rounded(value) for value in several[kind]] for kind in ("mean", "min", "max")]
    return curves


def _mistakes(
    predictions: pd.DataFrame, classes: Sequence[str], images: dict[str, tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """The images that are mistaken most often, as (image, predicted class, times); a few for each two classes."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    counts = wrong.groupby(["image", "label", "predicted"]).size().rename("times").reset_index()
    counts = counts.sort_values(["times", "image"], ascending=[False, True])
    counts = counts[counts.groupby(["label", "predicted"]).cumcount() < MOST_OF_A_PAIR].head(MOST_MISTAKES)
    number = {name: place for place, name in enumerate(classes)}
    return [
        (images.setdefault(image, (len(images), number[label]))[0], number[predicted], int(times))
        for image, label, predicted, times in counts.itertuples(index=False)
    ]


def _reliability(predictions: pd.DataFrame, classes: Sequence[str]) -> list[list[float | None]]:
    """Confidence, share correct and number of predictions of each bin of confidence."""
    confidence = predictions[[f"probability_{name}" for name in classes]].to_numpy(float).max(axis=1)
    bins = calibration_bins(confidence, (predictions["label"] == predictions["predicted"]).to_numpy())
    return [[_rounded(value) for value in bins[name]] for name in ("confidence", "accuracy", "n")]


def _rounded(value: Any) -> float | None:
    return None if missing(value) else round(float(value), DIGITS)
