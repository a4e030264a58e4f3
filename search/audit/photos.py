"""Audited images as arrays: what was read and measured of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Measures of an image that are numbers.
NUMBERS = (
    *("sharpness", "optical_density", "lightness", "green_red", "blue_yellow"),
    *("black_share", "two_tone_share"),
)


@dataclass(frozen=True, kw_only=True)
class Photos:
    """All images of the audited data sets, one place each, those of a data set together.

    Attributes:
        sources: names of the data sets.
        classes: names of all their classes, sorted.
        source: index into `sources`, shape (n_images,).
        names: name of each image in its data set.
        labels: index into `classes`, shape (n_images,).
        groups: place of the first image of the image's group, shape (n_images,); without given groups its own.
        has_groups: whether a data set gives groups.
        parts: the given part (train, val, test, ...); '' where none is given.
        problems: why an image cannot be read; '' where it can. What follows is 0, NaN or empty for such images.
        size_px: width and height, shape (n_images, 2).
        modes: Pillow's mode, such as RGB, L, P or CMYK, with the bits where they are more than 8, such as RGB;16.
        n_pages: pages or frames of the file, shape (n_images,).
        file_digests, pixel_digests: equal where files or pixels are equal.
        numbers: name in NUMBERS -> values, shape (n_images,); `search.audit.measures` says what they are.
        thumbnails: grey levels, uint8, shape (n_images, 64, 64).
        rings: border pixels, uint8, shape (n_images, 240, 3).
        notes: what the reader reports of each data set.
    """

    sources: tuple[str, ...]
    classes: tuple[str, ...]
    source: NDArray[np.int64]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    has_groups: tuple[bool, ...]
    parts: tuple[str, ...]
    problems: tuple[str, ...]
    size_px: NDArray[np.int64]
    modes: tuple[str, ...]
    n_pages: NDArray[np.int64]
    file_digests: tuple[bytes, ...]
    pixel_digests: tuple[bytes, ...]
    numbers: dict[str, NDArray[np.float64]]
    thumbnails: NDArray[np.uint8]
    rings: NDArray[np.uint8]
    notes: tuple[tuple[str, ...], ...]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Whether each image can be read, shape (n_images,)."""
        return np.array([not problem for problem in self.problems], bool)

    def places(self, source: int) -> NDArray[np.int64]:
        """Places of a data set's readable images."""
        return np.flatnonzero((self.source == source) & self.readable)

    def title(self, place: int) -> str:
        """The name of an image, with its data set if there are several."""
        name = self.names[place]
        return name if len(self.sources) == 1 else f"{self.sources[self.source[place]]}/{name}"
