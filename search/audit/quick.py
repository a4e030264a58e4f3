"""The cheap part of an audit, for a study that has its images in memory."""

import numpy as np
from PIL import Image

from search.audit.duplicates import near_identical
from search.audit.measures import THUMBNAIL_PX, grey_levels
from search.data.imageset import ImageSet
from search.data.names import count

# Beyond, it would no longer be quick: `python -m search.audit` has no such limit.
MOST_IMAGES = 10_000


def quick_findings(images: ImageSet) -> list[str]:
    """Name what shows the same picture twice, one line per finding.

    Identical and near-identical images are sought among thumbnails as they are, neither turned nor mirrored, and
    among the first 10,000 images only. Nothing is said of images of one given group, which no split separates.

    Args:
        images: decoded images of one data set.
    """
    squares = images.pixels[max(images.pixels)][:MOST_IMAGES]
    pairs = near_identical(np.stack([_thumbnail(square) for square in squares]), turned=False)
    if images.groups is not None:
        pairs = [pair for pair in pairs if images.groups[pair.first] != images.groups[pair.second]]
    if not pairs:
        return []
    named = ", ".join(f"{images.names[pair.first]} – {images.names[pair.second]}" for pair in pairs[:3])
    more = ", ..." if len(pairs) > 3 else ""
    lines = [
        f"{count(len(pairs), 'pair')} of images of the same picture, which a split may separate: "
        f"{named}{more}; python -m search.audit shows all, and writes groups"
    ]
    contradictory = [pair for pair in pairs if images.labels[pair.first] != images.labels[pair.second]]
    if contradictory:
        pair = contradictory[0]
        first, second = (
            f"{images.names[k]} ({images.classes[images.labels[k]]})" for k in (pair.first, pair.second)
        )
        lines.append(f"{count(len(contradictory), 'picture')} under two labels, such as {first} – {second}")
    return lines


def _thumbnail(square: np.ndarray) -> np.ndarray:
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return grey_levels(np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BILINEAR)))
