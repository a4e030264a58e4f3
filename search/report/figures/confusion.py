"""The winner's mistakes by class, and the calibration of its probabilities."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from search.analysis.statistics import wilson
from search.common.metrics import CALIBRATION_BINS, calibration_bin, calibration_error, confusion_matrix
from search.report.figures.style import BLUE, WIDTH_INCHES, in_lines, new_figure, styled

# With more classes, names are upright, cells are small, and those without an image are empty.
MANY_CLASSES = 12


@styled
def draw_confusion(predictions: pd.DataFrame, level: str) -> Figure | None:
    """Draw the confusion matrix of all predictions together, as counts and as shares of a row.

    Args:
        predictions: rows of the predictions table, all of the winner's in the comparison.
        level: the winner.
    Returns:
        The figure; None without rows.
    Source: the paper, table 1.
    """
    if predictions.empty:
        return None
    classes = _classes(predictions)
    labels, predicted = (
        pd.Categorical(predictions[name], categories=classes).codes.astype(np.int64)
        for name in ("label", "predicted")
    )
    counts = confusion_matrix(labels, predicted, len(classes))
    totals = counts.sum(axis=1, keepdims=True)
    rates = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    cell_inches = 0.32 if len(classes) > MANY_CLASSES else 0.5
    panel = max(WIDTH_INCHES / 2, 1.2 + cell_inches * len(classes))
    figure = new_figure(panel + 0.2, 2 * panel)
    n_repeats = predictions["repeat"].nunique()
    repeats = f" in {n_repeats} repeats" if n_repeats > 1 else ""
    figure.suptitle(f"{level}: {len(predictions)} predictions{repeats}, pooled over comparison folds")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_matrix(left, rates, [[f"{count}" for count in row] for row in counts], classes)
    shares = [["" if np.isnan(rate) else f"{100 * rate:.1f}" for rate in row] for row in rates]
    _draw_matrix(right, rates, shares, classes)
    left.set_title("images")
    left.set_ylabel("true class")
    right.set_title("% of the true class")
    return figure


@styled
def draw_reliability(predictions: pd.DataFrame, level: str) -> Figure | None:
    """Draw the share of correct predictions over their confidence, and the number of each confidence.

    Args:
        predictions: rows of the predictions table, each image once.
        level: the winner.
    Returns:
        The figure, with the expected calibration error; None without rows.
    """
    if predictions.empty:
        return None
    confidence = predictions[[f"probability_{name}" for name in _classes(predictions)]].to_numpy(float).max(axis=1)
    correct = (predictions["label"] == predictions["predicted"]).to_numpy()
    bins = calibration_bins(confidence, correct)
    error = calibration_error(confidence, correct)
    figure = new_figure(4.6, 4.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.5", linestyle="--", label="perfect calibration")
    intervals = np.array([wilson(right, n) for right, n in zip(bins["right"], bins["n"], strict=True)])
    accuracy = bins["accuracy"].to_numpy(float)
    reach = np.maximum([accuracy - intervals[:, 0], intervals[:, 1] - accuracy], 0)
    upper.errorbar(
        bins["confidence"], accuracy, yerr=reach, color=BLUE, marker="o", capsize=2.5, elinewidth=1.2,
        label="share correct, 95 % interval",
    )  # fmt: skip
    upper.set(ylabel="share correct", xlim=(0, 1.02), ylim=(0, 1.02))
    upper.legend(loc="lower right")
    upper.set_title(
        f"{level}: expected calibration error {error:.3f}\n{CALIBRATION_BINS} bins, n = {len(predictions)} images"
    )
    lower.bar(bins["low"], bins["n"], width=1 / CALIBRATION_BINS, align="edge", color=BLUE, edgecolor="white")
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.5)  # so that a single image is visible
    lower.yaxis.set_major_formatter(lambda count, _: f"{count:g}")
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="images")
    return figure


def calibration_bins(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> pd.DataFrame:
    """Count predictions by their confidence, in bins of equal width.

    Args:
        confidence: probability of the predicted class, shape (n_images,), in 0..1.
        correct: whether that class is the true one, shape (n_images,).
    Returns:
        A row per bin that is not empty: `low` (its lower edge), `n`, `right` (number correct), `accuracy` and
        `confidence` (means).
    """
    frame = pd.DataFrame(
        {
            "low": calibration_bin(confidence) / CALIBRATION_BINS,
            "confidence": confidence,
            "correct": correct,
        }
    )
    return frame.groupby("low", as_index=False).agg(
        n=("correct", "size"),
        right=("correct", "sum"),
        accuracy=("correct", "mean"),
        confidence=("confidence", "mean"),
    )


def _classes(predictions: pd.DataFrame) -> list[str]:
    """The classes of the predictions' data set, which have probabilities."""
    names = [name for name in predictions.columns if name.startswith("probability_")]
    return [name.removeprefix("probability_") for name in names if predictions[name].notna().any()]


def _draw_matrix(axes: Axes, rates: NDArray[np.float64], texts: list[list[str]], classes: list[str]) -> None:
    axes.imshow(np.nan_to_num(rates), cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            colour = "white" if rates[row, column] > 0.5 else "black"
            if len(classes) <= MANY_CLASSES or rates[row, column] > 0:
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    names = [in_lines(name) for name in classes]
    rotation, place = (90, "center") if len(classes) > MANY_CLASSES else (40, "right")
    axes.set_xticks(range(len(classes)), names, rotation=rotation, ha=place)
    axes.set_yticks(range(len(classes)), names)
    axes.set_xlabel("predicted class")
    axes.tick_params(length=0)
    axes.grid(visible=False)
