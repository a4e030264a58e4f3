"""Learning curves of the winner on the comparison's folds."""

import pandas as pd
from matplotlib.figure import Figure

from search.report.figures.style import BLUE, VERMILLION, new_figure, styled

_PARTS = (("train", "training", BLUE, "-"), ("val", "validation", VERMILLION, "--"))


@styled
def draw_curves(epochs: pd.DataFrame, level: str) -> Figure | None:
    """Draw accuracy and loss over the epochs: a thin line per fold, a bold one for their mean.

    Args:
        epochs: rows of the epochs table, all of the winner's trainings.
        level: the winner.
    Returns:
        The figure; None without rows, or with one epoch alone.
    Source: the paper, figures 4 and 5.
    """
    if epochs["epoch"].nunique() < 2:
        return None
    figure = new_figure(3.2)
    n_folds = epochs.groupby(["repeat", "fold"]).ngroups
    figure.suptitle(f"{level} on {n_folds} comparison folds: thin lines are folds, bold lines their mean")
    left, right = figure.subplots(1, 2)
    for axes, quantity in ((left, "accuracy"), (right, "loss")):
        for part, label, colour, line in _PARTS:
            curves = epochs.pivot_table(index="epoch", columns=["repeat", "fold"], values=f"{part}_{quantity}")
            axes.plot(curves.index, curves, color=colour, linestyle=line, linewidth=0.6, alpha=0.5)
            axes.plot(curves.index, curves.mean(axis=1), color=colour, linestyle=line, linewidth=2.2, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.locator_params(axis="x", integer=True)
        axes.legend(loc="lower right" if quantity == "accuracy" else "upper right")
    right.set_ylim(bottom=0)
    return figure
