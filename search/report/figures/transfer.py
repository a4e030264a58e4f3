"""The networks on the target: as they are, trained from scratch, with frozen features, and fine-tuned."""

import pandas as pd
from matplotlib.figure import Figure

from search.report.figures.intervals import ROW_INCHES, Series, draw_score_panels
from search.report.figures.style import BLACK, BLUE, GREEN, VERMILLION, new_figure, styled

_LOOKS = {
    "untouched": {"color": BLACK, "marker": "D", "markerfacecolor": "white"},
    "scratch": {"color": BLUE, "marker": "o"},
    "frozen": {"color": VERMILLION, "marker": "s", "markerfacecolor": "white"},
    "fine_tuned": {"color": GREEN, "marker": "^"},
}


@styled
def draw_transfer(transfer: pd.DataFrame) -> Figure | None:
    """Draw accuracy, sensitivity and specificity on the target, for every network and way.

    Args:
        transfer: rows of the transfer table, at most one for each network and way.
    Returns:
        The figure; None without rows.
    Source: the paper, figure 8.
    """
    if transfer.empty:
        return None
    names = list(dict.fromkeys(transfer["level"]))
    several = [
        Series(label=way.replace("_", "-"), rows=transfer[transfer["way"] == way], look=look, offset=offset)
        for (way, look), offset in zip(_LOOKS.items(), (-0.3, -0.1, 0.1, 0.3), strict=True)
        if (transfer["way"] == way).any()
    ]
    figure = new_figure(1.5 + 1.6 * ROW_INCHES * len(names))
    figure.suptitle(f"On {transfer['data'].iloc[0]}: mean over folds or networks with 95 % intervals")
    draw_score_panels(figure, names, several)
    return figure
