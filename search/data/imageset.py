"""Labelled images: a listing by name, the same with pixels, and the interface of every data source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError


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
        parts: the given part of each image, such as train, val or test; '' where an image has none. None: no split
            is given.
        fold_names: the comparison's fold that validates each image, such as its laboratory. None: not given.
        reading: how the data set was read, and why, in lines for the user.
        notes: lines for the user (files that were ignored, labels without a file, ...).
    """

    source: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    parts: tuple[str, ...] | None = None
    fold_names: tuple[str, ...] | None = None
    reading: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def class_counts(self) -> NDArray[np.int64]:
        """Images per class, shape (n_classes,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def only(
        self, kept: NDArray[np.int64], *, groups: NDArray[np.int64] | None, notes: tuple[str, ...]
    ) -> "Listing":
        """Some of the images, with other groups and notes.

        Classes and groups are numbered anew, because nothing may depend on images that were left out.

        Args:
            kept: indices, ascending.
            groups: int64, shape (n_images,) of all images.
        """
        codes, labels = np.unique(self.labels[kept], return_inverse=True)
        return Listing(
            source=self.source,
            classes=tuple(self.classes[code] for code in codes),
            names=tuple(self.names[index] for index in kept),
            labels=labels.astype(np.int64),
            groups=None if groups is None else np.unique(groups[kept], return_inverse=True)[1].astype(np.int64),
            parts=None if self.parts is None else tuple(self.parts[index] for index in kept),
            fold_names=None if self.fold_names is None else tuple(self.fold_names[index] for index in kept),
            reading=self.reading,
            notes=notes,
        )


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


OnRead = Callable[[int], object]


def unheard(n_images: int) -> None:
    """Let reading go on without a word."""


class Source(Protocol):
    """A data set that can be listed, decoded, and shown at full size."""

    @property
    def listing(self) -> Listing:
        """Names and labels, known without decoding an image."""
        ...

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False, on_read: OnRead = unheard) -> ImageSet:
        """Decode every image once and scale it to each of the square sides.

        Args:
            on_read: called with the number of images read since the last call.
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


def require_two_classes(path: Path, listing: Listing) -> None:
    """Refuse images that no study can be made of.

    Args:
        path: where they come from.
    Raises:
        InputError: fewer than two classes with at least two images each; names the path.
    """
    if not listing.names:
        raise InputError(f"{path}: no image has a label and can be read")
    if len(listing.classes) == 1:
        raise InputError(f"{path}: only one class, '{listing.classes[0]}'; a study needs at least two")
    counts = listing.class_counts().tolist()
    if sum(count >= 2 for count in counts) < 2:
        found = ", ".join(f"{name} ({count})" for name, count in zip(listing.classes, counts, strict=True))
        raise InputError(f"{path}: a study needs two classes with at least two images each; found {found}")
