"""Figures of the example images: the winner's mistakes, its feature maps and its class activation."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from search.common.errors import InputError
from search.records.schema import KEY_COLUMNS
from search.report.figures.style import PHONE_INCHES, WIDTH_INCHES, in_lines, new_figure, styled

LARGEST_PX = 4096
MISTAKE_COLUMNS, SEGMENTED_COLUMNS, ATTENTION_COLUMNS = 6, 3, 3
MAPS_PER_STAGE = 2
MOST_SEGMENTED = 18
LINE_INCHES = 0.13  # of text of 7 pt


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image with the winner's prediction.

    Attributes:
        image: its path in its data set.
        pixels: uint8 RGB, shape (side_px, side_px, 3).
        p_label, p_predicted: probabilities of the true and of the predicted class.
    """

    image: str
    pixels: NDArray[np.uint8]
    label: str
    predicted: str
    p_label: float
    p_predicted: float

    @property
    def is_correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.label == self.predicted

    @property
    def title(self) -> str:
        """The true class, and the predicted one if it differs, with their probabilities."""
        predicted = in_lines(f"{self.predicted} {100 * self.p_predicted:.0f}\N{NO-BREAK SPACE}%")
        return (
            predicted
            if self.is_correct
            else in_lines(f"{self.label} {100 * self.p_label:.0f}\N{NO-BREAK SPACE}%") + f"\n→ {predicted}"
        )


def read_examples(cells: pd.DataFrame, predictions: pd.DataFrame) -> list[Example]:
    """Decode images and join them with their predictions.

    Args:
        cells, predictions: rows of these tables; those without a counterpart in the other are left out.
    Returns:
        In the order of `cells`.
    Raises:
        InputError: a row holds no image.
    """
    joined = cells.merge(predictions, how="inner", on=[*KEY_COLUMNS, "image"])
    return [
        Example(
            image=row["image"],
            pixels=read_pixels(row["png"]),
            label=row["label"],
            predicted=row["predicted"],
            p_label=row[f"probability_{row['label']}"],
            p_predicted=row[f"probability_{row['predicted']}"],
        )
        for _, row in joined.iterrows()
    ]


def read_pixels(png: bytes) -> NDArray[np.uint8]:
    """Decode an image of the cells table.

    Returns:
        uint8 RGB, shape (side_px, side_px, 3).
    Raises:
        InputError: it is not a PNG, is damaged or too large.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if max(image.size) <= LARGEST_PX:
                return np.array(image.convert("RGB"))
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("cells.parquet: an image in it cannot be read") from error
    raise InputError(f"cells.parquet: an image in it is larger than {LARGEST_PX} px")


@styled
def draw_mistakes(mistakes: Sequence[Example], n_mistakes: int) -> Figure | None:
    """Draw a contact sheet of mistakes.

    Args:
        mistakes: of the winner in the comparison, most confident first.
        n_mistakes: number of all its mistakes there.
    Returns:
        The figure; None without mistakes.
    """
    if not mistakes:
        return None
    figure = _sheet([(example.title, example.pixels) for example in mistakes], MISTAKE_COLUMNS, WIDTH_INCHES)
    some = f"the {len(mistakes)} most confident of {n_mistakes} mistakes"
    shown = some if n_mistakes > len(mistakes) else "all mistakes"
    figure.suptitle(f"True class → predicted class, with probabilities:\n{shown} on the comparison's folds")
    return figure


@styled
def draw_segmentation(drawn: Mapping[str, Sequence[NDArray[np.uint8]]]) -> Figure | None:
    """Draw a contact sheet of segmented images.

    Args:
        drawn: level -> images with the outlines that its classifier has found.
    Returns:
        The figure; None without images.
    """
    shown = [(level, image) for level, images in drawn.items() for image in images[:MOST_SEGMENTED]]
    if not shown:
        return None
    titled = [(level if len(drawn) > 1 else "", image) for level, image in shown]
    figure = _sheet(titled, SEGMENTED_COLUMNS, PHONE_INCHES)
    _head(figure, "Outlines of the nucleus (green) and of the cell (yellow), as they are measured")
    return figure


def _sheet(titled: Sequence[tuple[str, NDArray[np.uint8]]], n_columns: int, width_inches: float) -> Figure:
    """Images in rows, each under its title."""
    n_rows, title_lines = math.ceil(len(titled) / n_columns), max(_n_lines(title) for title, _ in titled)
    figure = new_figure(0.6 + (width_inches / n_columns + LINE_INCHES * title_lines) * n_rows, width_inches)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, image) in zip(grid.flat, titled, strict=False):
        _show(axes, image)
        axes.set_title(title, fontsize=7)
    return figure


@styled
def draw_features(examples: Sequence[Example], maps: Mapping[str, NDArray[np.float32]]) -> Figure | None:
    """Draw, for each example, the feature maps of each stage that differ most between the examples.

    Args:
        maps: stage -> (n_examples, n_channels, side_px, side_px).
    Returns:
        The figure; None without examples.
    Source: the paper, figure 9.
    """
    if not examples:
        return None
    n_columns = 1 + MAPS_PER_STAGE * len(maps)
    figure = new_figure(1.0 + (PHONE_INCHES / n_columns + LINE_INCHES) * len(examples), PHONE_INCHES)
    grid = figure.subplots(len(examples), n_columns, squeeze=False)
    for axes, example in zip(grid[:, 0], examples, strict=True):
        _show(axes, example.pixels)
        # Over the whole row, not over its first image alone, whose column a long name would widen.
        over_row = axes.text(0, 1.05, example.label, fontsize=7, va="bottom", transform=axes.transAxes)
        over_row.set_in_layout(False)
    columns = [(stage, channel) for stage, of_stage in maps.items() for channel in telling_channels(of_stage)]
    for column, (stage, channel) in zip(grid.T[1:], columns, strict=True):
        of_channel = maps[stage][:, channel]
        strongest = of_channel.max() or 1.0
        for axes, of_example in zip(column, of_channel, strict=True):
            _show(axes, of_example, cmap="cividis", vmin=0, vmax=strongest, interpolation="nearest")
        title = f"{stage.replace('stage', 'stage ')}\n{of_channel.shape[-1]} px\nno. {channel}"
        column[0].set_title(title, fontsize=6.5, pad=14)  # above the name of the row
    figure.set_layout_engine("constrained", h_pad=0.75 * LINE_INCHES)  # on both sides of the text
    _head(figure, "Feature maps after each stage: brighter is stronger, on one scale per column")
    return figure


def telling_channels(maps: NDArray[np.float32]) -> list[int]:
    """The numbers of the channels with the largest spread of mean activation between images.

    Args:
        maps: shape (n_images, n_channels, side_px, side_px).
    """
    spread = maps.mean(axis=(2, 3)).std(axis=0)
    return sorted(int(channel) for channel in np.argsort(-spread, kind="stable")[:MAPS_PER_STAGE])


@styled
def draw_attention(examples: Sequence[Example], activation: NDArray[np.float32]) -> Figure | None:
    """Draw which parts of test images count for the winner's prediction, correct predictions first.

    Args:
        activation: from 0 to 1, shape (n_examples, side_px, side_px).
    Returns:
        The figure; None without examples.
    """
    if not examples:
        return None
    both = list(zip(examples, activation, strict=True))
    chosen = [
        group[start : start + ATTENTION_COLUMNS]
        for group in ([e for e in both if e[0].is_correct], [e for e in both if not e[0].is_correct])
        for start in range(0, len(group), ATTENTION_COLUMNS)
    ]
    row_inches = 2 * PHONE_INCHES / ATTENTION_COLUMNS + LINE_INCHES * max(_n_lines(e.title) for e in examples)
    figure = new_figure(0.6 + len(chosen) * row_inches, PHONE_INCHES)
    grid = figure.subplots(2 * len(chosen), ATTENTION_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for block, group in enumerate(chosen):
        for column, (example, heat) in enumerate(group):
            above, below = grid[2 * block : 2 * block + 2, column]
            _show(above, example.pixels)
            above.set_title(example.title, fontsize=7)
            _show(below, example.pixels)
            side = example.pixels.shape[0] - 0.5
            below.imshow(
                heat, cmap="inferno", vmin=0, vmax=1, alpha=0.55, extent=(-0.5, side, side, -0.5),
                interpolation="bilinear",
            )  # fmt: skip
    _head(figure, "Where the winner looks (Grad-CAM of the last stage), in test images it was not trained on")
    return figure


def _head(figure: Figure, title: str) -> None:
    """Set the title of a narrow figure."""
    figure.suptitle(in_lines(title, 52), fontsize=9)


def _n_lines(title: str) -> int:
    return len(title.splitlines())


def _show(axes: Axes, image: NDArray[Any], **look: Any) -> None:
    axes.imshow(image, **look)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
