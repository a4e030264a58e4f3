"""Forest plots: contrasts with their simultaneous intervals, over the band of the margin."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from search.analysis.families import Kind
from search.analysis.outcome import Outcome
from search.analysis.verdict import Finding
from search.analysis.words import p_phrase
from search.report.figures.intervals import ROW_INCHES, as_rows
from search.report.figures.style import BLUE, GREEN, SETTING_MARKERS, VERMILLION, new_figure, styled
from search.report.format import metric_name

# Every outcome has a marker of its own, so that none depends on its colour.
LOOKS: dict[Outcome | None, dict[str, Any]] = {
    Outcome.BETTER: {"color": GREEN, "marker": ">"},
    Outcome.WORSE: {"color": VERMILLION, "marker": "<"},
    Outcome.SAME: {"color": BLUE, "marker": "s"},
    Outcome.OPEN: {"color": "0.35", "marker": "o", "markerfacecolor": "white"},
    None: {"color": "0.35", "marker": "x"},
}

_TITLE = "{}, with 95 % intervals that hold for all of them at once"


@styled
def draw_effects(
    findings: Sequence[Finding], by_setting: Sequence[Finding], margin: float, setting_names: Mapping[int, str]
) -> Figure | None:
    """Draw a family of contrasts by one metric, and each setting's estimates below them.

    Args:
        findings: in order, the first on top.
        by_setting: estimates of the same contrasts at single settings.
        margin: as a fraction.
        setting_names: number -> name in the legend.
    Returns:
        The figure; None without contrasts.
    """
    if not findings:
        return None
    figure = new_figure(1.6 + ROW_INCHES * len(findings))
    what = "Interactions" if findings[0].kind == Kind.INTERACTION else "Effects and differences"
    figure.suptitle(_TITLE.format(what))
    axes = figure.subplots()
    _draw_family(axes, findings, margin)
    rows = {finding.contrast: row for row, finding in enumerate(findings)}
    for (setting, name), marker in zip(setting_names.items(), cycle(SETTING_MARKERS), strict=False):
        own = [finding for finding in by_setting if finding.setting == setting and finding.contrast in rows]
        if own:
            axes.plot(
                [_scaled(finding, finding.estimate) for finding in own],
                [rows[finding.contrast] + 0.28 for finding in own],
                linestyle="none", marker=marker, markersize=5, color="0.25", label=f"at {name}",
            )  # fmt: skip
    outcomes = axes.secondary_yaxis("right")
    outcomes.set_yticks(range(len(findings)), [_in_words(finding) for finding in findings])
    outcomes.tick_params(length=0)
    outcomes.spines["right"].set_visible(False)
    axes.set_xlabel(_unit(findings[0]))
    figure.legend(handles=_legend(axes), loc="outside lower center", ncols=5)
    return figure


@styled
def draw_other_effects(others: Mapping[str, Sequence[Finding]], margin: float) -> Figure | None:
    """Draw the same contrasts by other metrics, each a family of its own.

    Args:
        others: metric -> contrasts.
        margin: as a fraction.
    Returns:
        The figure; None without contrasts.
    """
    families = [family for family in others.values() if family]
    if not families:
        return None
    n_rows = -(-len(families) // 2)
    figure = new_figure(0.9 + n_rows * (0.7 + 0.22 * len(families[0])))
    figure.suptitle(_TITLE.format("The same by other metrics"))
    panels = figure.subplots(n_rows, 2, sharey=True, squeeze=False).flat
    for axes, family in zip(panels, families, strict=False):
        _draw_family(axes, family, margin)
        axes.set_xlabel(_unit(family[0]))
        axes.locator_params(axis="x", nbins=5)
    for axes in list(panels)[len(families) :]:
        axes.set_visible(False)
    shown = {handle.get_label(): handle for axes in figure.axes for handle in _legend(axes)}
    figure.legend(handles=list(shown.values()), loc="outside lower center", ncols=5)
    return figure


def _draw_family(axes: Axes, findings: Sequence[Finding], margin: float) -> None:
    """Draw intervals and estimates with the looks of their outcomes, zero and the margin."""
    if findings[0].in_points:
        points = 100 * margin
        axes.axvspan(-points, points, color="0.88", zorder=0, label=f"margin, ±{points:g}")
    axes.axvline(0, color="0.4", linewidth=1, zorder=1)
    for outcome, look in LOOKS.items():
        rows = [row for row, finding in enumerate(findings) if finding.outcome == outcome]
        if not rows:
            continue
        middle, low, high = (
            np.array([_scaled(findings[row], getattr(findings[row], name)) for row in rows])
            for name in ("estimate", "low", "high")
        )
        axes.errorbar(
            middle,
            rows,
            xerr=np.maximum([middle - low, high - middle], 0),
            label=outcome or "too few data to judge",
            linestyle="none",
            elinewidth=1.6,
            capsize=2.5,
            **look,
        )
    kinds = [finding.kind for finding in findings]
    for row in range(1, len(kinds)):
        if kinds[row] != kinds[row - 1]:  # effects above, pairs below
            axes.axhline(row - 0.5, color="0.75", linewidth=0.8)
    as_rows(axes, [finding.contrast for finding in findings])


def _scaled(finding: Finding, value: float) -> float:
    return 100 * value if finding.in_points else value


def _unit(finding: Finding) -> str:
    name = metric_name(finding.metric)
    return f"{name}, points (right is better)" if finding.in_points else f"{name}, negated (right is better)"


def _in_words(finding: Finding) -> str:
    return "" if finding.outcome is None else f"{finding.outcome}, {p_phrase(finding.p)}"


def _legend(axes: Axes) -> list[Any]:
    """The margin, the outcomes, then the settings; an interval is shown by its point alone."""
    handles, labels = axes.get_legend_handles_labels()
    margins: list[Any] = []
    outcomes: list[Any] = []
    settings: list[Any] = []
    for handle, label in zip(handles, labels, strict=True):
        if hasattr(handle, "lines"):
            point = handle.lines[0]
            look = {name: getattr(point, f"get_{name}")() for name in ("marker", "color", "markerfacecolor")}
            outcomes.append(Line2D([], [], linestyle="none", label=label, **look))
        else:
            (settings if isinstance(handle, Line2D) else margins).append(handle)
    return [*margins, *outcomes, *settings]
