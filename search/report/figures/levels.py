"""The levels beside each other: scores, differences from the reference, and what they cost."""

import pandas as pd
from matplotlib.figure import Figure

from search.report.figures.intervals import ROW_INCHES, Series, draw_score_panels, draw_series
from search.report.figures.style import BLACK, BLUE, VERMILLION, looks, new_figure, styled, words

PRACTICALLY_EQUAL_POINTS = 1
_TUNED = {"color": BLUE, "marker": "o"}
_EQUAL = {"color": VERMILLION, "marker": "s", "markerfacecolor": "white"}
_PAPER = {"color": BLACK, "marker": "D"}


@styled
def draw_scores(comparison: pd.DataFrame) -> Figure | None:
    """Draw accuracy, sensitivity and specificity of every level, tuned and at equal settings.

    Args:
        comparison: the comparison table.
    Returns:
        The figure; None where fewer than two levels were compared.
    Source: the paper, figures 6 and 7.
    """
    if not _has_rivals(comparison):
        return None
    names, several = list(dict.fromkeys(comparison["level"])), _series(comparison)
    figure = new_figure(1.5 + ROW_INCHES * len(names))
    figure.suptitle("Scores of the levels: mean over folds and its 95 % interval")
    draw_score_panels(figure, names, several)
    return figure


@styled
def draw_differences(comparison: pd.DataFrame, metric: str, reference: str) -> Figure | None:
    """Draw each level's difference from the reference, over the region of practical equivalence.

    Args:
        comparison: the comparison table.
        metric: that differences are of.
        reference: level that they are from; it has no row of its own.
    Returns:
        The figure; None where nothing was compared with the reference.
    """
    if not _has_rivals(comparison):
        return None
    rows = comparison[comparison["difference_reference"].notna() & (comparison["level"] != reference)]
    if rows.empty:
        return None
    names = list(dict.fromkeys(rows["level"]))
    figure = new_figure(1.6 + ROW_INCHES * len(names))
    axes = figure.subplots()
    region = PRACTICALLY_EQUAL_POINTS
    axes.axvspan(-region, region, color="0.85", zorder=0, label=f"practically equal: within {region} point")
    axes.axvline(0, color="0.4", linewidth=1, zorder=1)
    draw_series(axes, names, _series(rows), "difference_reference", end="", factor=100)
    axes.set_xlabel(f"{words(metric)} minus that of {reference}, points")
    axes.set_title("Difference from the reference: mean over folds and its 95 % interval")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def draw_costs(comparison: pd.DataFrame, metric: str) -> Figure | None:
    """Draw the levels' pooled accuracy, and the searched metric, against MACs and parameters.

    Args:
        comparison: the comparison table; its rows of equal settings are left aside.
        metric: that was searched.
    Returns:
        The figure, with the Pareto front of the levels; None where fewer than two were compared.
    """
    if not _has_rivals(comparison):
        return None
    rows = comparison[comparison["settings"] != "equal"]
    metrics = list(dict.fromkeys(("accuracy", metric)))
    figure = new_figure(0.7 + 2.5 * len(metrics))
    figure.suptitle("Scores, pooled over folds, and costs: each level at its best settings")
    grid = figure.subplots(len(metrics), 2, sharex="col", sharey="row", squeeze=False)
    costs = (("macs", "MACs of one image, millions"), ("n_parameters", "parameters, millions"))
    for row_of_axes, score in zip(grid, metrics, strict=True):
        for axes, (cost, label) in zip(row_of_axes, costs, strict=True):
            front = pareto_front(rows, cost, score)
            axes.step(
                front[cost] / 1e6, front[score], where="post", color="0.5", linestyle="--", label="Pareto front"
            )
            for level, look in looks(rows["level"]).items():
                own = rows[rows["level"] == level]
                # The paper's networks cost what some levels do, and may score the same: hollow, they hide none.
                face = "none" if own["settings"].isna().all() else look["color"]
                axes.plot(own[cost] / 1e6, own[score], linestyle="none", label=level, markerfacecolor=face, **look)
            axes.set_xlabel(label if score == metrics[-1] else "")
            axes.margins(0.08)
        row_of_axes[0].set_ylabel(words(score))
    figure.legend(handles=axes.get_lines(), loc="outside right center")
    return figure


def pareto_front(rows: pd.DataFrame, cost: str, score: str) -> pd.DataFrame:
    """The rows that no other row beats in both score and cost, by rising cost."""
    ascending = rows.sort_values([cost, score], ascending=[True, False])
    best_of_cheaper = ascending[score].cummax().shift(fill_value=float("-inf"))
    return ascending[ascending[score] > best_of_cheaper]


def _has_rivals(comparison: pd.DataFrame) -> bool:
    return not comparison.empty and comparison["level"].nunique() > 1


def _series(rows: pd.DataFrame) -> list[Series]:
    """The rows by their settings, of which the paper's networks have none; what has no rows is left out."""
    several = (
        Series(label="at its best settings", rows=rows[rows["settings"] == "tuned"], look=_TUNED, offset=-0.17),
        Series(label="all at the same settings", rows=rows[rows["settings"] == "equal"], look=_EQUAL, offset=0.17),
        Series(
            label="the paper's network at its settings", rows=rows[rows["settings"].isna()], look=_PAPER, offset=0
        ),
    )
    return [series for series in several if not series.rows.empty]
