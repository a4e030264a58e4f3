"""The table of an audit: one row per image, every column with its meaning and unit."""

import numpy as np
import pyarrow as pa

from search.audit.audit import Audit
from search.audit.photos import NUMBERS

# name -> (type, meaning, unit)
COLUMNS: dict[str, tuple[pa.DataType, str, str]] = {
    "source": (pa.string(), "data set", ""),
    "image": (pa.string(), "the image's path in its data set", ""),
    "label": (pa.string(), "class", ""),
    "group": (pa.int64(), "given group, which no split separates; null: none is given", ""),
    "split": (pa.string(), "given part, such as train, val or test; null: none is given", ""),
    "note": (pa.string(), "why the image is damaged, or the findings that it is part of", ""),
    "width_px": (pa.int64(), "width; null, as all that follows, if the image is damaged", "px"),
    "height_px": (pa.int64(), "height", "px"),
    "mode": (pa.string(), "Pillow's mode, with the bits where they are more than 8", ""),
    "n_pages": (pa.int64(), "pages or frames of the file", ""),
    "duplicate_of": (pa.string(), "first image with the same pixels; null: the image is the first", ""),
    "near_duplicate_group": (
        pa.int64(),
        "number that images of the same picture share; null: nothing like it",
        "",
    ),
    "sharpness": (pa.float64(), "natural logarithm of the variance of the Laplacian of the grey levels", ""),
    "optical_density": (pa.float64(), "mean of -log10(level / 255) over channels and pixels", ""),
    "lightness": (pa.float64(), "mean CIE L*, black padding left out", ""),
    "green_red": (pa.float64(), "mean CIE a*, black padding left out", ""),
    "blue_yellow": (pa.float64(), "mean CIE b*, black padding left out", ""),
    "black_share": (pa.float64(), "share of pixels with all channels below 12 of 255", ""),
    "two_tone_share": (pa.float64(), "share of pixels within 6 grey levels of the darkest or the brightest", ""),
}


def audit_table(audit: Audit) -> pa.Table:
    """The table, images in the order of the data sets and their names."""
    photos, same = audit.photos, audit.same
    sizes = np.bincount(same.cluster)
    readable = photos.readable
    damaged = ~readable
    columns = {
        "source": [photos.sources[number] for number in photos.source],
        "image": photos.names,
        "label": [photos.classes[label] for label in photos.labels],
        "group": pa.array(photos.groups, mask=~np.array(photos.has_groups)[photos.source]),
        "split": [part or None for part in photos.parts],
        "note": [note or None for note in audit.notes()],
        "width_px": pa.array(photos.size_px[:, 0], mask=damaged),
        "height_px": pa.array(photos.size_px[:, 1], mask=damaged),
        "mode": [mode or None for mode in photos.modes],
        "n_pages": pa.array(photos.n_pages, mask=damaged),
        "duplicate_of": [None if place < 0 else photos.title(place) for place in same.duplicate_of.tolist()],
        "near_duplicate_group": pa.array(same.cluster, mask=sizes[same.cluster] < 2),
        **{name: pa.array(photos.numbers[name], mask=damaged) for name in NUMBERS},
    }
    fields = [
        pa.field(name, type_, metadata={"description": meaning, "unit": unit})
        for name, (type_, meaning, unit) in COLUMNS.items()
    ]
    return pa.table(columns, schema=pa.schema(fields))
