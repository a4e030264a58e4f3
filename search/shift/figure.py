"""The heat map of a shift matrix."""

import pandas as pd
from matplotlib.figure import Figure

from search.report.figures.style import WIDTH_INCHES, in_lines, new_figure, styled
from search.report.format import metric_name

NAME_CHARACTERS = 14
CELL_INCHES, BESIDE_INCHES = 1.05, 2.3
LIGHTEST_FOR_WHITE = 0.55


@styled
def draw_shift(matrix: pd.DataFrame, metric: str) -> Figure:
    """Draw a score in 0..1 of every pair of laboratories, with its interval in the cell.

    Args:
        matrix: as `search.shift.matrix.shift_matrix` gives it.
        metric: one of `search.analysis.crossed.SHARES`.
    """
    names = list(dict.fromkeys(matrix["trained_on"]))
    cells = matrix.set_index(["trained_on", "tested_on"])
    side = max(CELL_INCHES * len(names), WIDTH_INCHES / 3)
    figure = new_figure(side + BESIDE_INCHES / 2, side + BESIDE_INCHES)
    axes = figure.subplots()
    scores = cells[metric].unstack().loc[names, names].to_numpy(float)
    image = axes.imshow(scores, cmap="Blues", vmin=0, vmax=1)
    for row, trained_on in enumerate(names):
        for column, tested_on in enumerate(names):
            cell = cells.loc[(trained_on, tested_on)]
            colour = "white" if scores[row, column] > LIGHTEST_FOR_WHITE else "black"
            axes.text(
                column, row - 0.1, f"{cell[metric]:.2f}", ha="center", va="center", color=colour, fontsize=12
            )
            ends = f"{cell[f'{metric}_low']:.2f}–{cell[f'{metric}_high']:.2f}"
            axes.text(column, row + 0.24, ends, ha="center", va="center", color=colour, fontsize=8)
    shown = [in_lines(name, NAME_CHARACTERS) for name in names]
    axes.set_xticks(range(len(names)), shown)
    axes.set_yticks(range(len(names)), shown)
    axes.set(xlabel="tested on", ylabel="trained on", title=f"{metric_name(metric)}, with 95 % intervals")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.85, label=metric_name(metric))
    return figure
