"""The levels next to each other: scores, differences from the reference, and costs.

All functions take the comparison table's rows of the levels at their own best settings (`tuned`), at the settings
that all share (`equal`), and of the paper's networks (`paper`).
"""

import pandas as pd
from matplotlib.figure import Figure

from search.report.figures.intervals import ROW_INCHES, Series, draw_score_panels, draw_series
from search.report.figures.style import BLACK, BLUE, VERMILLION, looks, new_figure, styled
from search.report.format import metric_name

PRACTICALLY_EQUAL_POINTS = 1
_TUNED = {"color": BLUE, "marker": "o"}
_EQUAL = {"color": VERMILLION, "marker": "s", "markerfacecolor": "white"}
_PAPER = {"color": BLACK, "marker": "D"}


@styled
def draw_scores(tuned: pd.DataFrame, equal: pd.DataFrame, paper: pd.DataFrame) -> Figure | None:
    """Draw accuracy, sensitivity and specificity of every level.

    Returns:
        The figure; None for fewer than two levels.
    Source: the paper, figures 6 and 7.
    """
    names = _names(tuned, equal, paper)
    if len(names) < 2:
        return None
    figure = new_figure(1.5 + ROW_INCHES * len(names))
    figure.suptitle("Scores of the levels: mean over folds with 95 % intervals")
    draw_score_panels(figure, names, _series(tuned, equal, paper))
    return figure


@styled
def draw_differences(
    tuned: pd.DataFrame, equal: pd.DataFrame, paper: pd.DataFrame, *, metric: str, reference: str
) -> Figure | None:
    """Draw each level's difference from the reference, over the region of practical equivalence.

    Args:
        metric: that the differences are of.
        reference: a level; it has no row of its own.
    Returns:
        The figure; None if nothing was compared with the reference.
    """
    rows = [
        part[part["difference_reference"].notna() & (part["level"] != reference)] for part in (tuned, equal, paper)
    ]
    names = _names(*rows)
    if not names:
        return None
    figure = new_figure(1.6 + ROW_INCHES * len(names))
    axes = figure.subplots()
    region = PRACTICALLY_EQUAL_POINTS
    axes.axvspan(-region, region, color="0.85", zorder=0, label=f"practically equal: within {region} point")
    axes.axvline(0, color="0.4", linewidth=1, zorder=1)
    draw_series(axes, names, _series(*rows), "difference_reference", end="", factor=100)
    axes.set_xlabel(f"{metric_name(metric)} minus that of {reference}, points")
    axes.set_title("Difference from the reference: mean over folds with 95 % intervals")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def draw_costs(tuned: pd.DataFrame, paper: pd.DataFrame, metric: str) -> Figure | None:
    """Draw pooled accuracy, and the searched metric, against MACs and parameters.

    Args:
        metric: that was searched.
    Returns:
        The figure, with the Pareto front; None for fewer than two levels.
    """
    rows = pd.concat([tuned, paper])
    names, hollow = _names(rows), {*paper["level"]}
    if len(names) < 2:
        return None
    metrics = list(dict.fromkeys(("accuracy", metric)))
    figure = new_figure(0.7 + 2.5 * len(metrics))
    figure.suptitle("Scores, pooled over folds, and costs: each level at its best settings")
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


def _series(tuned: pd.DataFrame, equal: pd.DataFrame, paper: pd.DataFrame) -> list[Series]:
    several = (
        Series(label="each level at its best settings", rows=tuned, look=_TUNED, offset=-0.17),
        Series(label="all levels at the same settings", rows=equal, look=_EQUAL, offset=0.17),
        Series(label="the paper's networks", rows=paper, look=_PAPER, offset=0),
    )
    return [series for series in several if len(series.rows)]
