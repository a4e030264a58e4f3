"""How the search went, trial by trial."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from search.report.figures.style import looks, new_figure, styled, words


@styled
def draw_history(trials: pd.DataFrame, metric: str) -> Figure | None:
    """Draw every trial's value by its number, its level and how it ended, and the best value so far.

    Args:
        trials: the trials table.
        metric: that was searched.
    Returns:
        The figure; None where no trial has a value yet.
    """
    if trials.empty or trials["value"].isna().all():
        return None
    trials = trials.sort_values("number")
    figure = new_figure(4.2)
    axes = figure.subplots()
    complete = trials[trials["state"] == "COMPLETE"]
    if not complete.empty:
        axes.step(complete["number"], complete["value"].cummax(), where="post", color="0.4", label="best so far")
    styles = looks(trials["level"])
    for level, look in styles.items():
        for state, face in (("COMPLETE", look["color"]), ("PRUNED", "white")):
            rows = trials[(trials["level"] == level) & (trials["state"] == state)]
            axes.plot(rows["number"], rows["value"], linestyle="none", markerfacecolor=face, **look)
    # A trial that failed may have no value: all of them stand on the lower edge.
    failed = trials.loc[trials["state"] == "FAIL", "number"]
    edge = axes.get_xaxis_transform()
    axes.plot(failed, [0] * len(failed), "x", color="black", clip_on=False, transform=edge)
    axes.set_xlabel("number of the trial")
    axes.set_ylabel(f"{words(metric)}, or where the trial stopped")
    axes.locator_params(axis="x", integer=True)
    counts = trials["state"].value_counts()
    axes.set_title("Search: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    faces: dict[str, Any] = {
        "COMPLETE": {"marker": "o"},
        "PRUNED": {"marker": "o", "markerfacecolor": "white"},
        "FAIL": {"marker": "x"},
    }
    grey: dict[str, Any] = {"color": "0.4", "linestyle": "none"}
    endings = [Line2D([], [], label=state, **grey, **faces[state]) for state in counts.index]
    levels = [Line2D([], [], linestyle="none", label=level, **look) for level, look in styles.items()]
    figure.legend(handles=[*axes.get_legend_handles_labels()[0], *endings], loc="outside right upper")
    figure.legend(handles=levels, title="level", alignment="left", loc="outside right lower")
    return figure
