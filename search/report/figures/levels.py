"""The levels next to each other: scores and costs.

All functions take rows of the comparison table: of the levels (`levels`) and of the paper's networks (`paper`).
"""

from collections.abc import Mapping
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from search.report.figures.intervals import ROW_INCHES, Series, draw_score_panels
from search.report.figures.style import BLACK, BLUE, SETTING_MARKERS, VERMILLION, looks, new_figure, styled
from search.report.format import metric_name

_LEVELS = {"color": BLUE, "marker": "o"}
_PAPER = {"color": BLACK, "marker": "D"}


@styled
def draw_scores(
    levels: pd.DataFrame, at_settings: Mapping[str, pd.DataFrame], paper: pd.DataFrame, label: str
) -> Figure | None:
    """Draw accuracy, sensitivity and specificity of every level.

    Args:
        at_settings: name of a setting -> the levels' rows at it, drawn as small marks.
        label: of `levels` in the legend.
    Returns:
        The figure; None for fewer than two levels.
    Source: the paper, figures 6 and 7.
    """
    names = _names(levels, paper)
    if len(names) < 2:
        return None
    figure = new_figure(1.5 + ROW_INCHES * len(names))
    figure.suptitle("Scores of the levels: mean over folds with 95 % intervals")
    several = [
        Series(label=label, rows=levels, look=_LEVELS, offset=-0.12),
        *(
            Series(
                label=f"at {name}", rows=rows, offset=0.22, has_intervals=False,
                look={"color": VERMILLION, "marker": marker, "markersize": 5},
            )
            for (name, rows), marker in zip(at_settings.items(), cycle(SETTING_MARKERS), strict=False)
        ),
        Series(label="the paper's networks", rows=paper, look=_PAPER, offset=0),
    ]  # fmt: skip
    draw_score_panels(figure, names, [series for series in several if len(series.rows)])
    return figure


@styled
def draw_costs(levels: pd.DataFrame, paper: pd.DataFrame, metric: str) -> Figure | None:
    """Draw pooled accuracy, and the searched metric, against MACs and parameters.

    Args:
        metric: that was searched.
    Returns:
        The figure, with the Pareto front; None for fewer than two levels.
    """
    rows = pd.concat([levels, paper])
    names, hollow = _names(rows), {*paper["level"]}
    if len(names) < 2:
        return None
    metrics = list(dict.fromkeys(("accuracy", metric)))
    figure = new_figure(0.7 + 2.5 * len(metrics))
    figure.suptitle("Scores, pooled over folds, and costs")
    grid = figure.subplots(len(metrics), 2, sharex="col", sharey="row", squeeze=False)
    costs = (("macs", "MACs per image, millions"), ("n_parameters", "parameters, millions"))
    for row_of_axes, score in zip(grid, metrics, strict=True):
        for axes, (cost, label) in zip(row_of_axes, costs, strict=True):
            front = pareto_front(rows, cost, score)
            axes.step(
                front[cost] / 1e6, front[score], where="post", color="0.5", linestyle="--", label="Pareto front"
            )
            for level, look in looks(names).items():
                own = rows[rows["level"] == level]
                # The paper's networks may cost and score the same as some levels: hollow, they hide none.
                face = "none" if level in hollow else look["color"]
                axes.plot(own[cost] / 1e6, own[score], linestyle="none", label=level, markerfacecolor=face, **look)
            axes.set_xlabel(label if score == metrics[-1] else "")
            axes.margins(0.08)
        row_of_axes[0].set_ylabel(metric_name(score))
    figure.legend(handles=axes.get_lines(), loc="outside right center")
    return figure


def pareto_front(rows: pd.DataFrame, cost: str, score: str) -> pd.DataFrame:
    """The rows that no other row beats in both score and cost, by rising cost."""
    ascending = rows.sort_values([cost, score], ascending=[True, False])
    best_of_cheaper = ascending[score].cummax().shift(fill_value=float("-inf"))
    return ascending[ascending[score] > best_of_cheaper]


def _names(*parts: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(level for part in parts for level in part["level"]))
