"""The search, trial by trial."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from search.report.figures.style import looks, new_figure, styled
from search.report.format import metric_name


@styled
def draw_history(trials: pd.DataFrame, metric: str) -> Figure | None:
    """Draw the value of every trial with its level and state, and the best value so far.

    Args:
        trials: the trials table.
        metric: that was searched.
    Returns:
        The figure; None if no trial has a value.
    """
    if trials["value"].isna().all():
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
    # Failed trials may have no value, so all of them are drawn on the lower edge.
    failed = trials.loc[trials["state"] == "FAIL", "number"]
    edge = axes.get_xaxis_transform()
    axes.plot(failed, [0] * len(failed), "x", color="black", clip_on=False, transform=edge)
    axes.set_xlabel("trial")
    axes.set_ylabel(f"{metric_name(metric)} (if pruned, when stopped)")
    axes.locator_params(axis="x", integer=True)
    counts = trials["state"].value_counts()
    axes.set_title("Search: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    faces: dict[str, Any] = {
        "COMPLETE": {"marker": "o"},
        "PRUNED": {"marker": "o", "markerfacecolor": "white"},
        "FAIL": {"marker": "x"},
    }
    grey: dict[str, Any] = {"color": "0.4", "linestyle": "none"}
    states = [Line2D([], [], label=state, **grey, **faces[state]) for state in counts.index]
    levels = [Line2D([], [], linestyle="none", label=level, **look) for level, look in styles.items()]
    figure.legend(handles=[*axes.get_legend_handles_labels()[0], *states], loc="outside right upper")
    figure.legend(handles=levels, title="level", alignment="left", loc="outside right lower")
    return figure
