"""The images that an exported file is checked on: the study's own, or drawn ones where these are gone."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.catalogue import is_path
from search.data.imageset import Source
from search.data.sources import SYNTHETIC, open_source
from search.records.arguments import Arguments

N_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class CheckImages:
    """Images to check a file on.

    Attributes:
        data: the data set that they are of.
        photos: of any size, uint8 (height, width, 3).
        missing: the study's data, if others stand in for them.
    """

    data: str
    photos: list[NDArray[np.uint8]]
    missing: str | None = None


def check_images(arguments: Arguments) -> CheckImages:
    """Read a few images, spread over the data set that a study was made of.

    Nothing is fetched: for data that are not a folder or file here, or no longer, drawn cells stand in.
    """
    if is_path(arguments.data):
        try:
            found = _some(_open(arguments, arguments.data))
            if found.photos:
                return found
        except InputError:
            pass
    return replace(_some(_open(arguments, SYNTHETIC)), missing=arguments.data)


def _open(arguments: Arguments, data: str) -> Source:
    return open_source(data, microscope="first", seed=arguments.seed, reading=arguments.reading)


def _some(source: Source) -> CheckImages:
    """Evenly spread images that can be read."""
    names = source.listing.names
    places = np.unique(np.linspace(0, len(names) - 1, N_IMAGES).round().astype(int))
    photos = []
    for place in places:
        try:
            photos.append(source.photograph(names[place]))
        except InputError:  # the study may have left it out
            continue
    return CheckImages(data=source.listing.source, photos=photos)
