"""Drawn cells as files and thumbnails; no two of different numbers are alike."""

import numpy as np
from PIL import Image

from search.audit.measures import THUMBNAIL_PX, grey_levels
from search.data.decode import resize_square
from search.data.synthetic import CELL_TYPES, MICROSCOPES, draw_cell

KINDS = ("basophil", "lymphocyte", "neutrophil")


def drawn_cell(number, kind="neutrophil"):
    """One cell, a Pillow image in RGB."""
    return Image.fromarray(draw_cell(np.random.default_rng([7, number]), CELL_TYPES[kind], MICROSCOPES["first"]))


def thumbnails(images):
    """Pillow images as an audit compares them, uint8 (n_images, 64, 64)."""
    return np.stack([grey_levels(resize_square(np.asarray(image), THUMBNAIL_PX)) for image in images])


def draw_cells(folder, *, per_class):
    """A folder of different cells, one sub-folder per class."""
    for start, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            drawn_cell(1000 * start + number, kind).save(folder / kind / f"{number:02d}.png")
    return folder
