"""The paper's figures next to a study's: what agrees, what differs, and what the paper's own gains are worth.

Source: S. Almotairi and A. I. Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from search.analysis.levels import PLAIN_LEVEL
from search.analysis.statistics import wilson
from search.analysis.verdict import Finding, Verdict
from search.analysis.words import level_name, signed
from search.records.description import Plan
from search.records.results import Results, first_repeat
from search.space import PAPER_LEVELS, Profile

N_DATASET1, N_DATASET2 = 2172, 254
WBCSNET2, PLAIN, TRADITIONAL = 0.968, 0.961, 0.939
TRANSFERRED, TRANSFER_GAIN = 0.9583, 0.024
NOT_HERE = "–"
_WBCSNET2_LEVEL = PAPER_LEVELS[1]


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One figure of the paper next to a study's.

    Attributes:
        paper: the figure as printed.
        interval: of the figure, if it is a share of a known number.
        same: the same network in the study.
        winner: the study's winner.
    """

    quantity: str
    paper: str
    interval: str = NOT_HERE
    same: str = NOT_HERE
    winner: str = NOT_HERE


@dataclass(frozen=True, kw_only=True)
class BesidePaper:
    """The paper next to a study.

    Attributes:
        winner: the study's winner, as in a sentence.
        worth: what the paper's gains are worth, in sentences.
        differs: what differs, how it is in the paper, how it is in the study.
        inconsistencies: of the paper.
    """

    winner: str
    rows: Sequence[PaperRow]
    worth: Sequence[str]
    differs: Sequence[tuple[str, str, str]]
    inconsistencies: Sequence[str]


INCONSISTENCIES = (
    "Sensitivity is 96.4 % in the abstract but 92.63 % in the text and the conclusion.",
    "95.83 % is not a share of 254 cells: 243 of them are 95.67 %, 244 are 96.06 %.",
    "Dataset1 has 320 images in one place and 2172 cells in another.",
    "Equation 7, accuracy, has its numerator and denominator swapped and counts false negatives twice; equation 4 "
    "is not batch normalisation. This program uses the standard forms.",
    "The text once mentions 32 sign-language classes, writes Conv4 for Conv3 and BC for batch normalisation; the "
    "caption of the confusion matrix says WBCsNet where the text says WBCsNet-2.",
    "The position of the residual block is said to be optimised, but results are given for the first stage only.",
    "The same folds were used to choose the network and to report its accuracy.",
)


def beside_paper(results: Results, found: Verdict) -> BesidePaper | None:
    """Set the paper's figures next to a study's; None if the paper's networks were not compared."""
    if results.paper.empty:
        return None
    return BesidePaper(
        winner=level_name(results.description.factor, found.winner),
        rows=_rows(results, found),
        worth=worth(),
        differs=_differs(results),
        inconsistencies=INCONSISTENCIES,
    )


def worth() -> list[str]:
    """What the paper's gains are worth, given the number of its cells."""
    low, high = share_difference(WBCSNET2, N_DATASET1, PLAIN, N_DATASET1)
    gain = WBCSNET2 - PLAIN
    to_low, to_high = share_difference(TRANSFERRED, N_DATASET2, TRANSFERRED - TRANSFER_GAIN, N_DATASET2)
    return [
        f"The paper's gain of {100 * gain:.1f} points on {N_DATASET1:,} cells is {gain * N_DATASET1:.0f} cells. "
        f"As a difference of two shares, its 95 % interval is {signed(100 * low)} to {signed(100 * high)} points, "
        "which includes zero; both networks saw the same cells, but which ones each got right is not reported.",
        f"Its gain of {100 * TRANSFER_GAIN:.1f} points after transfer is {TRANSFER_GAIN * N_DATASET2:.0f} of "
        f"{N_DATASET2} cells, with an interval of {signed(100 * to_low)} to {signed(100 * to_high)} points.",
        "Its two networks differ in three things at once (residual block, batch normalisation, dropout), so even "
        "a settled gain could not be credited to the block alone.",
    ]


def share_difference(p: float, n_p: int, q: float, n_q: int) -> tuple[float, float]:
    """Compute the 95 % interval of p - q, two independent shares, from their Wilson intervals.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17 (1998), method 10.
    """
    p_low, p_high = wilson(round(p * n_p), n_p)
    q_low, q_high = wilson(round(q * n_q), n_q)
    return (
        p - q - math.hypot(p - p_low, q_high - q),
        p - q + math.hypot(p_high - p, q - q_low),
    )


def _rows(results: Results, found: Verdict) -> list[PaperRow]:
    winner = found.winner
    compared = pd.concat([results.paper, results.winner_row.to_frame().T]).set_index("level")
    transferred = results.transfer[results.transfer["way"] == "fine_tuned"].set_index("level")
    plain, net2 = PLAIN_LEVEL, _WBCSNET2_LEVEL
    return [
        PaperRow(
            quantity="accuracy of WBCsNet-2",
            paper="96.8 %",
            interval=_wilson(WBCSNET2, N_DATASET1),
            same=_accuracy(compared, net2),
            winner=_accuracy(compared, winner),
        ),
        PaperRow(
            quantity="accuracy of the plain network",
            paper="96.1 %",
            interval=_wilson(PLAIN, N_DATASET1),
            same=_accuracy(compared, plain),
        ),
        PaperRow(
            quantity="accuracy over the plain network",
            paper="+0.7 points",
            interval=_points(*share_difference(WBCSNET2, N_DATASET1, PLAIN, N_DATASET1)),
            same=_gain(found.paper, net2),
            winner=_gain(found.paper, winner),
        ),
        PaperRow(
            quantity="accuracy of a two-step system with hand-crafted features",
            paper="93.9 %",
            interval=_wilson(TRADITIONAL, N_DATASET1),
        ),
        PaperRow(
            quantity="sensitivity of WBCsNet-2, mean over classes",
            paper="92.63 % (abstract: 96.4 %)",
            same=_sensitivity(compared, net2),
            winner=_sensitivity(compared, winner),
        ),
        PaperRow(
            quantity="neutrophils recognised by WBCsNet-2",
            paper="1401, of a number that is not given",
            same=_recognised(results, net2, "neutrophil"),
            winner=_recognised(results, winner, "neutrophil"),
        ),
        PaperRow(
            quantity="neutrophils recognised by the plain network",
            paper="1382",
            same=_recognised(results, plain, "neutrophil"),
        ),
        PaperRow(
            quantity="basophils recognised by WBCsNet-2",
            paper="all",
            same=_recognised(results, net2, "basophil"),
            winner=_recognised(results, winner, "basophil"),
        ),
        PaperRow(
            quantity="accuracy on the second data set, fine-tuned",
            paper="95.83 %",
            interval=_wilson(TRANSFERRED, N_DATASET2),
            same=_accuracy(transferred, net2),
            winner=_accuracy(transferred, winner),
        ),
        PaperRow(
            quantity="the same over the plain network",
            paper="+2.4 points",
            interval=_points(*share_difference(TRANSFERRED, N_DATASET2, TRANSFERRED - TRANSFER_GAIN, N_DATASET2)),
            same=_gain(found.transfer, net2),
            winner=_gain(found.transfer, winner),
        ),
    ]


def _accuracy(by_level: pd.DataFrame, level: str) -> str:
    """A pooled accuracy with Wilson's interval."""
    if level not in by_level.index:
        return NOT_HERE
    share, n_images = by_level["accuracy"][level], by_level["n_images"][level]
    return f"{100 * share:.1f} % ({_wilson(share, int(n_images))})"


def _sensitivity(by_level: pd.DataFrame, level: str) -> str:
    return f"{100 * by_level['balanced_accuracy'][level]:.1f} %" if level in by_level.index else NOT_HERE


def _recognised(results: Results, level: str, name: str) -> str:
    """How many images of a class a network classified correctly in the comparison, each image once."""
    own = results.of_winner("predictions") if level == results.winner else results.compared("predictions", level)
    rows = first_repeat(own)
    rows = rows[rows["label"].str.lower() == name]
    return f"{int((rows['predicted'] == rows['label']).sum()):,} of {len(rows):,}" if len(rows) else NOT_HERE


def _gain(findings: Sequence[Finding], level: str) -> str:
    """Difference in accuracy from the plain network on the same folds, with its interval."""
    name = f"{level} − {PLAIN_LEVEL}"
    found = next((f for f in findings if f.contrast == name and f.metric == "accuracy"), None)
    if found is None:
        return NOT_HERE
    interval = f" ({found.interval})" if found.interval else ""
    return f"{found.text(found.estimate)} points{interval}"


def _differs(results: Results) -> list[tuple[str, str, str]]:
    description, own = results.description, results.winner_row
    plan, profile = description.plan, description.plan.profile
    source, target = description.source, description.target
    sides = " or ".join(str(side) for side in profile.input_px)
    torch = description.environment.versions.get("torch", "")
    return [
        ("images", f"{N_DATASET1:,} cells of Ramesh et al.", f"{source[0]}: {source[1].n_images:,}"),
        (
            "images to transfer to",
            f"{N_DATASET2} cells of LISC",
            f"{target[0]}: {target[1].n_images:,}" if target else "none",
        ),
        (
            "side of an image in training",
            "70 px crops; the size in training is not given",
            f"{_setting(own, 'input_px', sides)} px",
        ),
        ("width", "64, 256 and 512 filters", f"{profile.width:g} times that"),
        ("training", "40 epochs of SGD with momentum", _training(profile)),
        ("folds", "10, of all images", f"{plan.folds}, of the images outside a locked test set"),
        ("settings", "how they were chosen is not said", _chosen(plan)),
        ("augmentation", "none mentioned", "flips and quarter turns"),
        ("class weights", "none mentioned", _setting(own, "class_weighting", "as the space defines them")),
        ("framework", "MATLAB 2019a", f"PyTorch {torch}".strip()),
    ]


def _training(profile: Profile) -> str:
    if profile.optimizer == "sgd":
        return profile.training
    return f"{profile.training}; the paper's networks {profile.paper_epochs} of SGD"


def _chosen(plan: Plan) -> str:
    if not plan.shares_settings:
        return f"each level's best of {plan.n_trials} trials in total"
    return f"the best of those tried at all levels, in {plan.n_trials} trials"


def _setting(row: pd.Series, name: str, otherwise: str) -> str:
    value = row.get(f"params_{name}")
    if value is None or pd.isna(value):
        return otherwise
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wilson(share: float, n: int) -> str:
    low, high = wilson(round(share * n), n)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _points(low: float, high: float) -> str:
    return f"{signed(100 * low)} to {signed(100 * high)}"
