"""Labelled images: a listing by name, the same with pixels, and the interface of every data source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Images known by name and label, not yet decoded.

    Attributes:
        source: name for tables and console, such as the folder's name.
        classes: class names, sorted; a label is an index into them.
        names: one per image, unique, POSIX path relative to the source, in a stable order.
        labels: int64, shape (n_images,), values 0..n_classes-1.
        groups: int64, shape (n_images,); a split never separates images of one group. None: every image is its
            own group.
        notes: lines for the user (files that were ignored, labels without a file, ...).
        parts: the given part of each image, such as train, val or test; '' where an image has none; None: no split
            is given.
    """

    source: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    parts: tuple[str, ...] | None = None

    def class_counts(self) -> NDArray[np.int64]:
        """Images per class, shape (n_classes,)."""
        return np.bincount(self.labels, minlength=len(self.classes))


@dataclass(frozen=True, kw_only=True)
class ImageSet(Listing):
    """A listing with its pixels.

    Attributes:
        pixels: side in px -> uint8 RGB array, shape (n_images, side, side, 3).
        fingerprint: hex digest of all file contents, names, labels and groups; it does not depend on the path
            or on the sides.
    """

    pixels: dict[int, NDArray[np.uint8]]
    fingerprint: str


class Source(Protocol):
    """A data set that can be listed, decoded, and shown at full size."""

    @property
    def listing(self) -> Listing:
        """Names and labels, known without decoding an image."""
        ...

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False) -> ImageSet:
        """Decode every image once and scale it to each of the square sides.

        Raises:
            InputError: a damaged image, which it names; with skip_bad it is left out and named in `notes`.
        """
        ...

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """Read one image of the listing at its full size, RGB of shape (height_px, width_px, 3).

        Raises:
            InputError: the image cannot be read; names it.
        """
        ...
