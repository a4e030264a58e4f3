"""Points with intervals, one row per name: the common part of several figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROW_INCHES = 0.34


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that look alike.

    Attributes:
        label: in the legend.
        rows: of a table, with a column `level`; at most one row per level.
        look: keywords of matplotlib's `errorbar`.
        offset: from the middle of a name's row, in rows, downwards.
        has_intervals: intervals are drawn.
    """

    label: str
    rows: pd.DataFrame
    look: dict[str, Any]
    offset: float
    has_intervals: bool = True


def draw_series(axes: Axes, names: Sequence[str], several: Sequence[Series], column: str) -> None:
    """Draw a column's means with their intervals, the first name on top; a missing interval is left out."""
    place = {name: index for index, name in enumerate(names)}
    for series in several:
        middle, low, high = (series.rows[f"{column}{part}"].to_numpy(float) for part in ("_mean", "_low", "_high"))
        xerr = np.maximum([middle - low, high - middle], 0) if series.has_intervals else None
        axes.errorbar(
            middle,
            [place[name] + series.offset for name in series.rows["level"]],
            xerr=xerr,
            label=series.label,
            linestyle="none",
            capsize=2.5,
            elinewidth=1.2,
            **series.look,
        )
    as_rows(axes, names)


def as_rows(axes: Axes, names: Sequence[str]) -> None:
    """Give every name a row of the axes, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def draw_score_panels(figure: Figure, names: Sequence[str], several: Sequence[Series]) -> None:
    """Draw accuracy, sensitivity and specificity next to each other, with one legend below."""
    columns = ("accuracy", "sensitivity", "specificity")
    for axes, column in zip(figure.subplots(1, 3, sharey=True), columns, strict=True):
        draw_series(axes, names, several, column)
        _fit_shares(axes, several, column)
        axes.set_xlabel("sensitivity\n(= balanced accuracy)" if column == "sensitivity" else column)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _fit_shares(axes: Axes, several: Sequence[Series], column: str) -> None:
    """Limit the axis to possible shares: an interval of few folds may reach beyond 0 or 1."""
    rows = pd.concat([series.rows for series in several])
    ends = rows[[f"{column}_mean", f"{column}_low", f"{column}_high"]].clip(0, 1)
    low, high = ends.min().min(), ends.max().max()
    margin = 0.05 * (high - low) or 0.01
    axes.set_xlim(low - margin, high + margin)
    axes.locator_params(axis="x", nbins=4)
