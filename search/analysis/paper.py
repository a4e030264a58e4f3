"""The paper's figures beside a study's: what is the same, what differs, and what the paper's own gains are worth.

Source: S. Almotairi and A. I. Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from search.analysis.statistics import paired_difference, wilson
from search.analysis.verdict import level_name, signed
from search.records.results import Results
from search.space import PAPER_LEVELS

N_DATASET1, N_DATASET2 = 2172, 254
WBCSNET2, PLAIN, TRADITIONAL = 0.968, 0.961, 0.939
TRANSFERRED, TRANSFER_GAIN = 0.9583, 0.024
NOT_HERE = "–"


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One figure of the paper, its interval where it is a share of a known number, and what the study has."""

    quantity: str
    paper: str
    interval: str = NOT_HERE
    same: str = NOT_HERE
    winner: str = NOT_HERE


@dataclass(frozen=True, kw_only=True)
class BesidePaper:
    """The paper beside a study.

    Attributes:
        winner: what the last column is of, as in a sentence.
        worth: what the paper's gains are worth, in sentences.
        differs: what, in the paper, in the study.
        inconsistencies: of the paper.
    """

    winner: str
    rows: Sequence[PaperRow]
    worth: Sequence[str]
    differs: Sequence[tuple[str, str, str]]
    inconsistencies: Sequence[str]


INCONSISTENCIES = (
    "Sensitivity is 96.4 % in the abstract and 92.63 % in the text and the conclusion.",
    "95.83 % is no share of 254 cells: 243 of them are 95.67 %, 244 are 96.06 %.",
    "Dataset1 is said to hold 320 images in one place and 2172 cells in another.",
    "Equation 7, accuracy, has numerator and denominator exchanged and counts false negatives twice; equation 4 "
    "is not batch normalisation. This program uses the standard forms.",
    "The text speaks once of 32 sign-language classes, of Conv4 for Conv3 and of BC for batch normalisation; the "
    "caption of the confusion matrix names WBCsNet where the text says WBCsNet-2.",
    "The place of the residual block is said to be optimised, but figures are given for the first stage alone.",
    "The same folds served to choose and to report.",
)


def beside_paper(results: Results, winner: str) -> BesidePaper | None:
    """Set the paper's figures beside a study's; None where the paper's networks were not compared."""
    comparison = results.comparison
    if comparison.empty or not comparison["level"].isin(PAPER_LEVELS).any():
        return None
    return BesidePaper(
        winner=level_name(results.description["factor"], winner),
        rows=_rows(results, winner),
        worth=worth(),
        differs=_differs(results, winner),
        inconsistencies=INCONSISTENCIES,
    )


def worth() -> list[str]:
    """What the paper's gains are worth by the number of its cells."""
    low, high = share_difference(WBCSNET2, N_DATASET1, PLAIN, N_DATASET1)
    gain = WBCSNET2 - PLAIN
    to_low, to_high = share_difference(TRANSFERRED, N_DATASET2, TRANSFERRED - TRANSFER_GAIN, N_DATASET2)
    return [
        f"The paper's gain of {100 * gain:.1f} points on {N_DATASET1:,} cells is {gain * N_DATASET1:.0f} cells. "
        f"As a difference of two shares its 95 % interval is {signed(100 * low)} to {signed(100 * high)} points, "
        "which holds zero; both networks saw the same cells, but which of them each got right is not reported.",
        f"Its gain of {100 * TRANSFER_GAIN:.1f} points after transfer is {TRANSFER_GAIN * N_DATASET2:.0f} of "
        f"{N_DATASET2} cells, with an interval of {signed(100 * to_low)} to {signed(100 * to_high)} points.",
        "Three things change at once between its two networks (residual block, batch normalisation, dropout), so "
        "even a settled gain would not be the block's alone.",
    ]


def share_difference(p: float, n_p: int, q: float, n_q: int) -> tuple[float, float]:
    """Give the 95 % interval of p - q, two independent shares, from their Wilson intervals.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17 (1998), method 10.
    """
    p_low, p_high = wilson(round(p * n_p), n_p)
    q_low, q_high = wilson(round(q * n_q), n_q)
    return (
        p - q - math.hypot(p - p_low, q_high - q),
        p - q + math.hypot(p_high - p, q - q_low),
    )


def _rows(results: Results, winner: str) -> list[PaperRow]:
    accuracy, balanced = (
        {level: _score(results.comparison, level, name) for level in (*PAPER_LEVELS, winner)}
        for name in ("accuracy", "balanced_accuracy")
    )
    neutrophil, basophil = (
        {level: _recognised(results.predictions, level, name) for level in (*PAPER_LEVELS, winner)}
        for name in ("neutrophil", "basophil")
    )
    plain, net2 = PAPER_LEVELS
    transferred = {level: _transferred(results.transfer, level) for level in (net2, winner)}
    return [
        PaperRow(
            quantity="accuracy of WBCsNet-2",
            paper="96.8 %",
            interval=_wilson(WBCSNET2, N_DATASET1),
            same=accuracy[net2],
            winner=accuracy[winner],
        ),
        PaperRow(
            quantity="accuracy of the plain network",
            paper="96.1 %",
            interval=_wilson(PLAIN, N_DATASET1),
            same=accuracy[plain],
        ),
        PaperRow(
            quantity="accuracy over the plain network",
            paper="+0.7 points",
            interval=_points(*share_difference(WBCSNET2, N_DATASET1, PLAIN, N_DATASET1)),
            same=_gain(results.folds, "compare", net2),
            winner=_gain(results.folds, "compare", winner),
        ),
        PaperRow(
            quantity="accuracy of a two-step system with hand-made features",
            paper="93.9 %",
            interval=_wilson(TRADITIONAL, N_DATASET1),
        ),
        PaperRow(
            quantity="sensitivity of WBCsNet-2, mean over classes",
            paper="92.63 % (abstract: 96.4 %)",
            same=balanced[net2],
            winner=balanced[winner],
        ),
        PaperRow(
            quantity="neutrophils recognised by WBCsNet-2",
            paper="1401, of a number the text leaves out",
            same=neutrophil[net2],
            winner=neutrophil[winner],
        ),
        PaperRow(quantity="neutrophils recognised by the plain network", paper="1382", same=neutrophil[plain]),
        PaperRow(
            quantity="basophils recognised by WBCsNet-2",
            paper="all",
            same=basophil[net2],
            winner=basophil[winner],
        ),
        PaperRow(
            quantity="accuracy on the second data set, fine-tuned",
            paper="95.83 %",
            interval=_wilson(TRANSFERRED, N_DATASET2),
            same=transferred[net2],
            winner=transferred[winner],
        ),
        PaperRow(
            quantity="the same over the plain network",
            paper="+2.4 points",
            interval=_points(*share_difference(TRANSFERRED, N_DATASET2, TRANSFERRED - TRANSFER_GAIN, N_DATASET2)),
            same=_gain(results.folds, "transfer", net2),
            winner=_gain(results.folds, "transfer", winner),
        ),
    ]


def _score(comparison: pd.DataFrame, level: str, name: str) -> str:
    """A pooled score; an accuracy has Wilson's interval by its number of images."""
    rows = comparison[(comparison["level"] == level) & (comparison["settings"] != "equal")]
    if rows.empty:
        return NOT_HERE
    value = float(rows[name].iloc[0])
    interval = f" ({_wilson(value, int(rows['n_images'].iloc[0]))})" if name == "accuracy" else ""
    return f"{100 * value:.1f} %{interval}"


def _recognised(predictions: pd.DataFrame, level: str, name: str) -> str:
    """How many images of a class a network got right, pooled over the comparison's folds of one repeat."""
    if predictions.empty:
        return NOT_HERE
    rows = predictions[(predictions["phase"] == "compare") & (predictions["level"] == level)]
    rows = rows[(rows["settings"] != "equal") & (rows["repeat"] == rows["repeat"].min())]
    rows = rows[rows["label"].str.lower() == name]
    return f"{int((rows['predicted'] == rows['label']).sum()):,} of {len(rows):,}" if len(rows) else NOT_HERE


def _transferred(transfer: pd.DataFrame, level: str) -> str:
    if transfer.empty:
        return NOT_HERE
    return _score(transfer[transfer["way"] == "fine_tuned"], level, "accuracy")


def _gain(folds: pd.DataFrame, phase: str, level: str) -> str:
    """Mean difference in accuracy from the plain network over the same folds, with its interval."""
    rows = folds[(folds["phase"] == phase) & (folds["settings"] != "equal")] if len(folds) else folds
    if phase == "transfer" and len(rows):
        rows = rows[rows["way"] == "fine_tuned"]
    if rows.empty:
        return NOT_HERE
    wide = rows.pivot_table(index=["repeat", "fold"], columns="level", values="accuracy")
    if not {level, "paper_plain"} <= {*wide.columns}:
        return NOT_HERE
    both = wide[[level, "paper_plain"]].dropna()
    if both.empty:
        return NOT_HERE
    found = paired_difference(
        both[level].to_numpy(), both["paper_plain"].to_numpy(), rows["n_train"].mean(), rows["n_val"].mean()
    )
    interval = "" if math.isnan(found.low) else f" ({_points(found.low, found.high)})"
    return f"{signed(100 * found.mean)} points{interval}"


def _differs(results: Results, winner: str) -> list[tuple[str, str, str]]:
    description = results.description
    plan, data = description["plan"], description["data"]
    profile = plan["profile"]
    first, *others = data
    rows = results.comparison
    own = rows[(rows["level"] == winner) & (rows["settings"] == "tuned")].iloc[0]
    torch = description.get("environment", {}).get("versions", {}).get("torch", "")
    return [
        ("images", f"{N_DATASET1:,} cells of Ramesh et al.", f"{first}: {data[first]['n_images']:,}"),
        (
            "images to transfer to",
            f"{N_DATASET2} cells of LISC",
            "; ".join(f"{name}: {data[name]['n_images']:,}" for name in others) or "none",
        ),
        (
            "side of an image as trained",
            "70 px crops; the trained size is not given",
            f"{_setting(own, 'input_px', _choices(profile['input_px']))} px",
        ),
        ("width", "64, 256 and 512 filters", f"{profile['width']:g} times that"),
        ("epochs", "40", f"{profile['epochs']}"),
        (
            "folds",
            "10, of all images",
            f"{plan['folds']}, of the images outside a locked test set",
        ),
        ("settings", "how they were chosen is not said", f"each level's best of {plan['n_trials']} trials in all"),
        ("augmentation", "none named", "flips and quarter turns"),
        ("class weights", "none named", f"{_setting(own, 'class_weighting', 'as the space says')}"),
        ("framework", "MATLAB 2019a", f"PyTorch {torch}".strip()),
    ]


def _setting(row: pd.Series, name: str, otherwise: str) -> str:
    value: Any = row.get(f"params_{name}")
    if value is None or pd.isna(value):
        return otherwise
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choices(values: Sequence[Any] | Mapping[str, Any]) -> str:
    return " or ".join(str(value) for value in values)


def _wilson(share: float, n: int) -> str:
    low, high = wilson(round(share * n), n)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _points(low: float, high: float) -> str:
    return f"{signed(100 * low)} to {signed(100 * high)}"
