"""Figure files as parts of one HTML file: read, and turned into data URIs."""

import base64
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from search.report.figures.style import STYLE

# A chart of so many bytes or fewer stays a drawing, sharp at any size; above, its raster image is smaller.
LARGEST_SVG = 250_000
SCREEN_DPI, POINTS_PER_INCH = 96, 72
TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}

# figure -> (what it shows, which its text for those who do not see it begins with, and how to read it).
CAPTIONS = {
    "differences": (
        "Difference of each level from the reference, with 95 % intervals",
        "An interval that crosses zero leaves open which of the two is better; the grey band is practically "
        "equal.",
    ),
    "scores": (
        "Accuracy, sensitivity and specificity of each level, with 95 % intervals",
        "Means over folds. Filled: each level at its best settings; hollow: all at the same.",
    ),
    "costs": (
        "Scores against multiply-accumulates and parameters",
        "Up and to the left is better. No level beats those on the dashed line in both score and cost.",
    ),
    "confusion": ("Confusion matrix of the winner", "A row is a true class, a column what it was taken for."),
    "reliability": (
        "How often the winner is right at a given confidence",
        "On the diagonal its probabilities can be taken at their word; below it, it is too sure of itself.",
    ),
    "curves": (
        "Accuracy and loss of the winner over its epochs",
        "Thin lines are folds, bold lines their mean.",
    ),
    "mistakes": ("Images that the winner takes for another class", "With the class it named and how sure it was."),
    "features": (
        "What the winner's stages respond to",
        "A row is a cell, one of each class; beside it are its feature maps after each stage.",
    ),
    "attention": ("Where in an image the winner looks", "The brighter, the more that place counts for the class."),
    "transfer": (
        "Accuracy, sensitivity and specificity on the second data set",
        "Means over folds and 95 % intervals, for each network and way.",
    ),
    "history": ("Values of the trials in their order", "The line is the best so far."),
    "importance": (
        "Which parameters matter for being among the best trials",
        "Importances of different n are comparable only roughly.",
    ),
    "parameters": (
        "Parameters of all completed trials and what they scored",
        "A line is a trial; the darker, the better.",
    ),
}
# These hold photographs, whose colours a dark page must leave alone.
PHOTOGRAPHS = ("mistakes", "features", "attention")


@dataclass(frozen=True, kw_only=True)
class FigureImage:
    """A figure as a page shows it."""

    name: str
    title: str
    note: str
    uri: str
    width_px: int
    height_px: int
    photograph: bool


def read_figures(files: Iterable[Path]) -> dict[str, FigureImage]:
    """Read the figures among files, in the better of the forms there are of each.

    Args:
        files: of figures; NAME.svg and NAME.png are the same figure.
    Returns:
        By name, those that a page has a caption for.
    """
    forms: dict[str, dict[str, bytes]] = {}
    for file in files:
        if file.stem in CAPTIONS and file.suffix in TYPES:
            forms.setdefault(file.stem, {})[file.suffix] = file.read_bytes()
    return {name: _image(name, of_name) for name, of_name in forms.items()}


def _image(name: str, forms: dict[str, bytes]) -> FigureImage:
    rasters = {kind: data for kind, data in forms.items() if kind != ".svg"}
    drawing_fits = ".svg" in forms and len(forms[".svg"]) <= LARGEST_SVG
    if (drawing_fits and name not in PHOTOGRAPHS) or not rasters:
        kind = ".svg"
    else:
        kind = min(rasters, key=lambda kind: len(rasters[kind]))
    title, note = CAPTIONS[name]
    width, height = _size_inches(forms[kind], kind)
    return FigureImage(
        name=name,
        title=title,
        note=note,
        uri=f"data:{TYPES[kind]};base64,{base64.b64encode(forms[kind]).decode('ascii')}",
        width_px=round(SCREEN_DPI * width),
        height_px=round(SCREEN_DPI * height),
        photograph=name in PHOTOGRAPHS,
    )


def _size_inches(data: bytes, kind: str) -> tuple[float, float]:
    """How large a figure was made to be seen, so that its letters have the size of text."""
    if kind == ".svg":
        found = {
            side: re.search(rb"<svg[^>]*\s" + side + rb'="([\d.]+)pt"', data) for side in (b"width", b"height")
        }
        width, height = (float(match[1]) if match else POINTS_PER_INCH for match in found.values())
        return width / POINTS_PER_INCH, height / POINTS_PER_INCH
    with Image.open(io.BytesIO(data)) as image:
        x_dpi, y_dpi = image.info.get("dpi", (STYLE["savefig.dpi"],) * 2)
        return image.width / x_dpi, image.height / y_dpi
