"""Figure files as data URIs, with their captions."""

import base64
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from search.report.figures.style import STYLE

# A drawing of at most so many bytes is shown as such, sharp at any size; a larger one only if its raster image is
# larger still.
LARGEST_SVG = 250_000
JPEG_QUALITY = 88
SCREEN_DPI, POINTS_PER_INCH = 96, 72
# A published study may keep its photographs as JPEG only.
TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}

# figure -> (title, note)
CAPTIONS = {
    "effects": (
        "Effects and differences, with simultaneous 95 % intervals",
        "Right of the line is better. An interval that crosses the line leaves the sign open; one inside the grey "
        "band is practically the same. Small marks are estimates at single settings.",
    ),
    "other_effects": (
        "The same effects and differences by other metrics",
        "Each panel is a family of its own. Losses are negated, so that right is better everywhere.",
    ),
    "interactions": (
        "Interactions: how much an effect depends on another",
        "The first effect where the second is present, minus the same where it is absent.",
    ),
    "scores": (
        "Accuracy, sensitivity and specificity of each level, with 95 % intervals",
        "Means over folds. The intervals are of single levels, not of differences. Small marks: single settings.",
    ),
    "costs": (
        "Scores against multiply-accumulates and parameters",
        "Better is up and to the left. No level beats those on the dashed line in both score and cost.",
    ),
    "confusion": ("Confusion matrix of the winner", "Rows are true classes, columns predicted ones."),
    "reliability": (
        "Share of correct predictions at each confidence",
        "On the diagonal, the winner's probabilities can be taken at face value; below it, it is overconfident.",
    ),
    "curves": ("Accuracy and loss of the winner over the epochs", "Thin lines are folds, bold lines their mean."),
    "mistakes": ("Images that the winner misclassifies", "With the class it predicts and its confidence."),
    "segmentation": (
        "What the system without a network measures",
        "The outlines that its segmentation finds in the example images.",
    ),
    "features": (
        "Feature maps of the winner's stages",
        "Each row is a cell, at most one per class, followed by its feature maps after each stage.",
    ),
    "attention": ("Where in an image the winner looks", "The brighter, the more a place counts for the class."),
    "transfer": (
        "Accuracy, sensitivity and specificity on the second data set",
        "Means with 95 % intervals: over folds for each way of training there; untouched, over networks that "
        "never saw it.",
    ),
    "history": ("Values of the trials in order", "The line is the best value so far."),
    "importance": (
        "Importance of the parameters for being among the best trials",
        "Importances over different n are only roughly comparable.",
    ),
    "parameters": (
        "Parameters and values of all complete trials",
        "Each line is a trial; darker lines are better.",
    ),
}
# Photographs keep their colours on a dark page.
PHOTOGRAPHS = ("mistakes", "segmentation", "features", "attention")


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


def read_figures(
    files: Iterable[Path], captions: Mapping[str, tuple[str, str]] = CAPTIONS
) -> dict[str, FigureImage]:
    """Read figures, each in the best of its formats.

    Args:
        files: NAME.svg and NAME.png are the same figure; those without a caption are ignored.
        captions: name -> title and note.
    Returns:
        By name.
    """
    formats: dict[str, dict[str, bytes]] = {}
    for file in files:
        if file.stem in captions and file.suffix in TYPES:
            formats.setdefault(file.stem, {})[file.suffix] = file.read_bytes()
    return {name: _image(name, of_figure, captions[name]) for name, of_figure in formats.items()}


def data_uri(data: bytes, kind: str) -> str:
    """A file as an address of itself; `kind` is one of TYPES."""
    return f"data:{TYPES[kind]};base64,{base64.b64encode(data).decode('ascii')}"


def jpeg(image: Image.Image) -> bytes:
    """A photograph for a page, as a JPEG file."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _image(name: str, formats: dict[str, bytes], caption: tuple[str, str]) -> FigureImage:
    photograph = name in PHOTOGRAPHS
    raster = formats.get(".png", formats.get(".jpg"))
    drawing = formats.get(".svg")
    enough = LARGEST_SVG if raster is None else max(LARGEST_SVG, len(raster))
    raster_first = photograph or drawing is None or len(drawing) > enough
    preferred = (".png", ".jpg", ".svg") if raster_first else (".svg", ".png", ".jpg")
    kind = next(kind for kind in preferred if kind in formats)
    title, note = caption
    data = formats[kind]
    width, height = _size_inches(data, kind)
    if photograph and kind == ".png" and len(smaller := _jpeg(data)) < len(data):
        data, kind = smaller, ".jpg"
    return FigureImage(
        name=name,
        title=title,
        note=note,
        uri=data_uri(data, kind),
        width_px=round(SCREEN_DPI * width),
        height_px=round(SCREEN_DPI * height),
        photograph=photograph,
    )


def _jpeg(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        return jpeg(image)


def _size_inches(data: bytes, kind: str) -> tuple[float, float]:
    """The size that a figure was drawn for, at which its letters match the page's."""
    if kind == ".svg":
        found = {
            side: re.search(rb"<svg[^>]*\s" + side + rb'="([\d.]+)pt"', data) for side in (b"width", b"height")
        }
        width, height = (float(match[1]) if match else POINTS_PER_INCH for match in found.values())
        return width / POINTS_PER_INCH, height / POINTS_PER_INCH
    with Image.open(io.BytesIO(data)) as image:
        x_dpi, y_dpi = image.info.get("dpi", (STYLE["savefig.dpi"],) * 2)
        return image.width / x_dpi, image.height / y_dpi
