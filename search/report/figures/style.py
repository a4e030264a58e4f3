"""The common style of all figures: legible in print, without colour vision, and on any machine."""

import textwrap
from collections.abc import Iterable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

STYLE: Any = {  # a dictionary; matplotlib types its names one by one
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 6,
    "figure.facecolor": "white",
    # A figure is laid out by `new_figure` alone, whatever a user's own settings say.
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "savefig.facecolor": "white",
    "savefig.dpi": 150,
    # Names of levels and classes are plain text, even with dollar signs.
    "text.parse_math": False,
    # The same figure gives the same file.
    "svg.hashsalt": "wbc-search",
}
styled = matplotlib.rc_context(STYLE)
"""Decorator: the function draws in this style; settings elsewhere are unchanged."""

# The colours of Okabe and Ito (2008), without yellow, which is too pale for lines on white.
BLUE, VERMILLION, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
COLOURS = (BLUE, "#E69F00", GREEN, VERMILLION, "#56B4E9", "#CC79A7", BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
SETTING_MARKERS = ("|", "+", "x", ".", "1", "2", "3", "4")
WIDTH_INCHES = 7.2  # a page's text, from margin to margin
PHONE_INCHES = 3.7  # a phone's screen: small images need no more, and on a page they stand side by side


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Give every name a colour and a marker, in order; the first 70 pairs are distinct."""
    return {
        name: {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        for index, name in enumerate(dict.fromkeys(names))
    }


def in_lines(name: str, columns: int = 22) -> str:
    """A name in lines of at most so many characters, broken at spaces and hyphens where it has any."""
    return textwrap.fill(name, columns)


def new_figure(height_inches: float, width_inches: float = WIDTH_INCHES) -> Figure:
    """Create an empty figure that arranges its parts without overlaps."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")
