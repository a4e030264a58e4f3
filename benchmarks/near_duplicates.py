"""Near-identical images that an audit finds, those that it misses, and how long it takes.

    python -m benchmarks.near_duplicates FOLDER [FOLDER ...]
    python -m benchmarks.near_duplicates --drawn 50000

Of every folder, images are copied with one change each, such as a shift; recall is the share of copies that are
found as a pair with their original. Pairs among the originals are listed, for a look at whether they are the same
cell. Drawn cells are all different: every pair among them is a mistake.
"""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from rich.markup import escape
from rich.table import Table

from search.audit.duplicates import near_identical
from search.audit.measures import THUMBNAIL_PX, grey_levels
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.data.decode import resize_square
from search.data.folder import open_folder
from search.data.names import count
from search.data.synthetic import CELL_TYPES, MICROSCOPES, draw_cell

Thumbnails = NDArray[np.uint8]

app = make_app("benchmarks.near_duplicates")


def _moved(percent: float) -> Callable[[Image.Image], Image.Image]:
    """Shift down and to the right, both by a share of the width; the edge is mirrored."""

    def change(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image)
        by = round(percent / 100 * pixels.shape[1])
        return Image.fromarray(np.pad(pixels, ((by, 0), (by, 0), (0, 0)), "reflect")[:-by, :-by])

    return change


def _turned(degrees: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        edge = max(image.size) // 2
        wide = Image.fromarray(np.pad(np.asarray(image), ((edge, edge), (edge, edge), (0, 0)), "reflect"))
        turned = wide.rotate(degrees, Image.Resampling.BICUBIC)
        return turned.crop((edge, edge, edge + image.width, edge + image.height))

    return change


def _enlarged(percent: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        by = round(percent / 200 * image.width)
        return ImageOps.crop(image, by).resize(image.size, Image.Resampling.BICUBIC)

    return change


def _as_jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return change


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 30": _as_jpeg(30),
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "blurred, sd 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": ImageOps.mirror,
    "shifted by 5 %": _moved(5),
    "shifted by 10 %": _moved(10),
    "shifted by 15 %": _moved(15),
    "enlarged by 5 %": _enlarged(5),
    "enlarged by 10 %": _enlarged(10),
    "turned by 5°": _turned(5),
    "turned by 10°": _turned(10),
}


@app.default
def main(
    folders: Annotated[list[Path] | None, Parameter(name="FOLDER")] = None,
    /,
    *,
    drawn: int | None = None,
    copies: int = 200,
) -> None:
    """Measure recall, mistakes and time.

    Args:
        folders: Folders of images.
        drawn: Drawn cells to compare.
        copies: Most images of a folder to copy, drawn at random.
    """
    console = make_console()
    for folder in folders or []:
        console.print(_measured(folder, copies))
    if drawn is not None:
        cells = _drawn_cells(drawn)
        started = time.process_time()
        pairs = near_identical(cells)
        took_s = time.process_time() - started
        wrong = {place for pair in pairs for place in (pair.first, pair.second)}
        console.print(
            f"{drawn} drawn cells, compared in {took_s:.1f} s of CPU time: "
            f"{count(len(pairs), 'pair')} of {count(len(wrong), 'image')}, by mistake"
        )


def _measured(folder: Path, copies: int) -> Table:
    source = open_folder(folder)
    names = source.listing.names
    images = [source.photograph(name) for name in names]
    originals = np.stack([_thumbnail(image) for image in images])
    started = time.process_time()
    pairs = near_identical(originals)
    took_s = time.process_time() - started
    table = Table(
        title=(
            f"{escape(str(folder))}: {count(len(names), 'image')}, {count(len(pairs), 'pair')} in "
            f"{took_s:.1f} s of CPU time"
        ),
        title_justify="left",
        box=None,
    )
    table.add_column("copies, or a pair of originals")
    table.add_column("found, or correlation", justify="right")
    chosen = np.random.default_rng(0).permutation(len(images))[:copies]
    for name, change in CHANGES.items():
        changed = np.stack([_thumbnail(np.asarray(change(Image.fromarray(images[k])))) for k in chosen])
        both = near_identical(np.concatenate([originals[chosen], changed]))
        found = sum(pair.second == pair.first + len(chosen) for pair in both)
        table.add_row(name, f"{found} of {len(chosen)}")
    for pair in pairs:
        table.add_row(escape(f"{names[pair.first]} – {names[pair.second]}"), f"{pair.correlation:.3f}")
    return table


def _thumbnail(rgb: NDArray[np.uint8]) -> Thumbnails:
    return grey_levels(resize_square(rgb, THUMBNAIL_PX))


def _drawn_cells(n_images: int) -> Thumbnails:
    kinds = list(CELL_TYPES.values())
    drawn = np.empty((n_images, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    for k in range(n_images):
        drawn[k] = _thumbnail(
            draw_cell(np.random.default_rng([1, k]), kinds[k % len(kinds)], MICROSCOPES["first"])
        )
    return drawn


if __name__ == "__main__":
    run_app(app)
