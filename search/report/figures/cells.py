"""Figures that show cells: what the winner mistakes, what its stages respond to, and where it looks."""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from search.common.errors import InputError
from search.records.schema import KEY_COLUMNS
from search.report.figures.style import WIDTH_INCHES, new_figure, styled

LARGEST_PX = 4096
SHEET_COLUMNS = 6
ATTENTION_COLUMNS = 5
MAPS_PER_STAGE = 3


def with_predictions(cells: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Join the kept images with what was predicted of them.

    Args:
        cells, predictions: the tables of these names.
    Returns:
        The rows of `cells` with `label`, `predicted`, `p_predicted` (probability of the predicted class) and
        `p_label` (probability of the true class), in their order.
    """
    if cells.empty or predictions.empty:
        return cells.iloc[:0].assign(label="", predicted="", p_predicted=0.0, p_label=0.0)
    joined = cells.merge(predictions, how="inner", on=[*KEY_COLUMNS, "image"])
    probabilities = joined[[name for name in joined.columns if name.startswith("probability_")]]
    p_label = [row[f"probability_{row['label']}"] for _, row in joined.iterrows()]
    return joined.assign(p_predicted=probabilities.max(axis=1), p_label=p_label)


def pixels(png: bytes) -> NDArray[np.uint8]:
    """An image of the cells table as uint8 RGB, shape (side_px, side_px, 3).

    Raises:
        InputError: it is none.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if max(image.size) <= LARGEST_PX:
                return np.array(image.convert("RGB"))
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("cells.parquet: an image in it cannot be read") from error
    raise InputError(f"cells.parquet: an image in it is of over {LARGEST_PX} px")


@styled
def draw_mistakes(cells: pd.DataFrame, n_wrong: int) -> Figure | None:
    """Draw the comparison's mistakes as a contact sheet, the surest first.

    Args:
        cells: as `with_predictions` gives them.
        n_wrong: mistakes in all, of which the table keeps the surest.
    Returns:
        The figure; None where no mistake is kept.
    """
    wrong = cells[(cells["phase"] == "compare") & (cells["label"] != cells["predicted"])]
    if wrong.empty:
        return None
    n_rows = math.ceil(len(wrong) / SHEET_COLUMNS)
    figure = new_figure(0.7 + 1.75 * n_rows)
    grid = figure.subplots(n_rows, SHEET_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (_, cell) in zip(grid.flat, wrong.iterrows(), strict=False):
        _show(axes, pixels(cell["png"]))
        axes.set_title(_named(cell), fontsize=7)
    shown = f"the {len(wrong)} surest of {n_wrong} mistakes" if n_wrong > len(wrong) else "all mistakes"
    figure.suptitle(f"True class → class it was taken for, with probabilities:\n{shown} on the comparison's folds")
    return figure


@styled
def draw_features(cells: pd.DataFrame, maps: Mapping[str, NDArray[np.float32]]) -> Figure | None:
    """Draw, for a cell of each class, the feature maps of each stage that differ most between the cells.

    Args:
        cells: as `with_predictions` gives them, of the phase test and recognised.
        maps: stage -> (n_cells, n_channels, side_px, side_px).
    Returns:
        The figure; None where there are no cells.
    Source: the paper, figure 9.
    """
    if cells.empty:
        return None
    n_columns = 1 + MAPS_PER_STAGE * len(maps)
    figure = new_figure(0.6 + (WIDTH_INCHES - 1) / n_columns * len(cells))
    grid = figure.subplots(len(cells), n_columns, squeeze=False)
    for row, (_, cell) in zip(grid, cells.iterrows(), strict=True):
        _show(row[0], pixels(cell["png"]))
        row[0].set_ylabel(cell["label"], fontsize=8, rotation=0, ha="right", va="center")
    columns = [(stage, channel) for stage, of_stage in maps.items() for channel in telling_channels(of_stage)]
    for column, (stage, channel) in zip(grid.T[1:], columns, strict=True):
        of_channel = maps[stage][:, channel]
        strongest = of_channel.max() or 1.0
        for axes, of_cell in zip(column, of_channel, strict=True):
            _show(axes, of_cell, cmap="cividis", vmin=0, vmax=strongest, interpolation="nearest")
        title = f"{stage.replace('stage', 'stage ')}\n{of_channel.shape[-1]} px, no. {channel}"
        column[0].set_title(title, fontsize=6.5)
    figure.suptitle("Feature maps after each stage: bright is strong, on one scale down a column")
    return figure


def telling_channels(maps: NDArray[np.float32]) -> list[int]:
    """The channels whose mean activation differs most between the images, by number.

    Args:
        maps: shape (n_images, n_channels, side_px, side_px).
    """
    spread = maps.mean(axis=(2, 3)).std(axis=0)
    return sorted(int(channel) for channel in np.argsort(-spread, kind="stable")[:MAPS_PER_STAGE])


@styled
def draw_attention(cells: pd.DataFrame, activation: NDArray[np.float32]) -> Figure | None:
    """Draw where the winner looks in test images that it recognises, and in some that it does not.

    Args:
        cells: as `with_predictions` gives them, of the phase test.
        activation: from 0 to 1, shape (n_cells, side_px, side_px).
    Returns:
        The figure; None where there are no cells.
    """
    if cells.empty:
        return None
    right = (cells["label"] == cells["predicted"]).to_numpy()
    chosen = [
        group[start : start + ATTENTION_COLUMNS]
        for group in (np.flatnonzero(right), np.flatnonzero(~right))
        for start in range(0, len(group), ATTENTION_COLUMNS)
    ]
    figure = new_figure(0.5 + len(chosen) * 2.9)
    grid = figure.subplots(2 * len(chosen), ATTENTION_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for block, numbers in enumerate(chosen):
        for column, number in enumerate(numbers):
            cell, heat = cells.iloc[number], activation[number]
            image = pixels(cell["png"])
            above, below = grid[2 * block : 2 * block + 2, column]
            _show(above, image)
            above.set_title(_named(cell), fontsize=7)
            _show(below, image)
            side = image.shape[0] - 0.5
            below.imshow(
                heat, cmap="inferno", vmin=0, vmax=1, alpha=0.55, extent=(-0.5, side, side, -0.5),
                interpolation="bilinear",
            )  # fmt: skip
    figure.suptitle("Where the winner looks (Grad-CAM of the last stage), in test images it was not trained on")
    return figure


def _named(cell: pd.Series) -> str:
    if cell["label"] == cell["predicted"]:
        return f"{cell['label']} {100 * cell['p_predicted']:.0f} %"
    return (
        f"{cell['label']} {100 * cell['p_label']:.0f} %\n→ {cell['predicted']} {100 * cell['p_predicted']:.0f} %"
    )


def _show(axes: Axes, image: NDArray[Any], **look: Any) -> None:
    axes.imshow(image, **look)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
