"""What every data source gives: labelled images, first by name, then as pixels."""

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
        classes: class names, sorted without regard to case; a label is an index into them.
        names: one per image, unique, POSIX path relative to the source, in a stable order.
        labels: int64, shape (n_images,), values 0..n_classes-1.
        groups: int64, shape (n_images,); images of one group never stand on two sides of a split.
            None: every image is its own group.
        notes: lines that the user should read (odd files passed over, labels without a file, ...).
    """

    source: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def class_counts(self) -> NDArray[np.int64]:
        """Images per class, shape (n_classes,)."""
        return np.bincount(self.labels, minlength=len(self.classes))


@dataclass(frozen=True, kw_only=True)
class ImageSet(Listing):
    """A listing with its pixels, decoded once.

    Attributes:
        pixels: side in px -> uint8 RGB array, shape (n_images, side, side, 3).
        fingerprint: hex digest of all file contents, names, labels and groups; the same data give the same
            digest at whatever path and for whatever sizes.
    """

    pixels: dict[int, NDArray[np.uint8]]
    fingerprint: str


class Source(Protocol):
    """Where images come from."""

    @property
    def listing(self) -> Listing:
        """Names and labels, found without decoding an image."""
        ...

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False) -> ImageSet:
        """Decode every image once and scale it to each of the square sides.

        Raises:
            InputError: a damaged image, named; with skip_bad it is left out and named in `notes` instead.
        """
        ...

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """One image of the listing as it is, RGB of shape (height_px, width_px, 3).

        Raises:
            InputError: it cannot be read (any more); names it.
        """
        ...
