"""Images in one .npz file, as MedMNIST publishes them: arrays of images and labels for train, val and test.

An image is read when it is wanted, so that a file may be larger than memory.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.decode import resize_square
from search.data.imageset import ImageSet, Listing, OnRead, require_two_classes, unheard
from search.data.loading import Loaded, image_set

PARTS = ("train", "val", "test")
# What numpy and zipfile raise for files that are damaged or of another kind.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """The images of an .npz file, listed but not yet read.

    Attributes:
        shapes: part -> shape of its images, (n_images, height_px, width_px) or (…, 3).
    """

    path: Path
    listing: Listing
    shapes: Mapping[str, tuple[int, ...]]

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False, on_read: OnRead = unheard) -> ImageSet:
        """Read every image once and scale it to each of the square sides.

        Args:
            sides_px: sides to scale to.
            on_read: called after every image.
            skip_bad: leave out identical images with two labels or in two parts. In a damaged file no image can be
                told from the others.
        Raises:
            InputError: the file is damaged, or has such images; names it.
        """
        n_images = len(self.listing.names)
        pixels = {side: np.zeros((n_images, side, side, 3), np.uint8) for side in sides_px}
        loaded = {}
        for index, image in enumerate(self._images()):
            for side, array in pixels.items():
                array[index] = resize_square(_rgb(image), side)
            digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
            loaded[index] = Loaded(file=digest, picture=digest)
            on_read(1)
        return image_set(self.path, self.listing, pixels, loaded, skip_bad=skip_bad)

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """Read one image of the listing."""
        part, _, number = name.partition("/")
        with _opened(self.path) as file, _images(file, part) as images:
            images.skip(int(number))
            return _rgb(images.read())

    def _images(self) -> Iterator[NDArray[np.uint8]]:
        """All images, in the listing's order."""
        with _opened(self.path) as file:
            for part, shape in self.shapes.items():
                with _images(file, part) as images:
                    for _ in range(shape[0]):
                        yield images.read()


def open_arrays(path: Path, *, class_names: Mapping[str, str] | None = None) -> ArraySource:
    """List the images of an .npz file with their labels and the parts that they are given in.

    The file holds train_images and train_labels, and the same for val and test; a part may be missing. Images are
    uint8 of shape (n, height_px, width_px), grey, or (n, height_px, width_px, 3), RGB; labels are integers of
    shape (n,) or (n, 1).

    Args:
        path: the file.
        class_names: label, as text -> class; must name every label. None: labels are class names.
    Returns:
        The source; image i of the part train is named train/00000i.
    Raises:
        InputError: not such a file; names it, and the array.
    """
    labels, shapes = {}, {}
    with _opened(path) as file:
        _require_pairs(path, file.files)
        for part in PARTS:
            if f"{part}_images" in file.files:
                with _images(file, part) as images:
                    shapes[part] = _checked_shape(path, part, images)
                labels[part] = _checked_labels(path, part, file[f"{part}_labels"], shapes[part][0])
    listing = _listing(path, labels, class_names)
    require_two_classes(path, listing)
    return ArraySource(path=path, listing=listing, shapes=shapes)


class _Images:
    """The images of one array in an .npz file, one after the other."""

    def __init__(self, stream: IO[bytes]) -> None:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        self.shape, self.is_transposed, self.dtype = header(stream)
        self._stream = stream
        self._n_bytes = int(np.prod(self.shape[1:], dtype=np.int64))

    def skip(self, n_images: int) -> None:
        self._stream.seek(n_images * self._n_bytes, 1)

    def read(self) -> NDArray[np.uint8]:
        data = self._stream.read(self._n_bytes)
        if len(data) < self._n_bytes:
            raise EOFError("it ends in the middle of an image")
        return np.frombuffer(data, np.uint8).reshape(self.shape[1:])


@contextmanager
def _images(file: np.lib.npyio.NpzFile, part: str) -> Iterator[_Images]:
    assert file.zip is not None  # as long as the file is open
    with file.zip.open(f"{part}_images.npy") as stream:
        yield _Images(stream)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """Open an .npz file, and turn what damaged files raise into one line."""
    try:
        with path.open("rb") as stream:  # numpy would leave a damaged file open
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: one array without labels; it needs train_images and train_labels")
            with file:
                yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except _DAMAGE as error:
        # numpy takes everything that it does not know for a pickle.
        reason = "not an .npz file, or pickled, which is not read" if "pickle" in str(error) else str(error)
        raise InputError(f"{path}: cannot be read: {reason}") from None


def _require_pairs(path: Path, names: Sequence[str]) -> None:
    wanted = [(f"{part}_images", f"{part}_labels") for part in PARTS]
    missing = [name for pair in wanted for name in pair if name not in names and set(pair) & set(names)]
    if missing or not any(set(pair) <= set(names) for pair in wanted):
        raise InputError(
            f"{path}: no array {missing[0] if missing else wanted[0][0]}; it has {', '.join(names) or 'none'}"
        )


def _checked_shape(path: Path, part: str, images: _Images) -> tuple[int, ...]:
    shape, dtype = images.shape, images.dtype
    what = f"{path}: {part}_images"
    if dtype != np.uint8:
        raise InputError(f"{what} are {dtype}; save them as uint8, from 0 to 255")
    if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or 0 in shape[1:]:
        raise InputError(f"{what} have shape {shape}; it must be (n, height, width) or (n, height, width, 3)")
    if images.is_transposed:
        raise InputError(f"{what} are in Fortran order; save numpy.ascontiguousarray of them")
    return shape


def _checked_labels(path: Path, part: str, labels: NDArray[np.generic], n_images: int) -> NDArray[np.generic]:
    what = f"{path}: {part}_labels"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputError(f"{what} hold {labels.shape[1]} labels per image; a study needs one class per image")
    if labels.ndim not in (1, 2) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{what} are {labels.dtype} of shape {labels.shape}; they must be integers of shape (n,) or (n, 1)"
        )
    if len(labels) != n_images:
        raise InputError(f"{what} are {len(labels)}, but {part}_images are {n_images}")
    return labels.reshape(-1)


def _listing(
    path: Path, labels: Mapping[str, NDArray[np.generic]], class_names: Mapping[str, str] | None
) -> Listing:
    every = [str(label) for part in labels.values() for label in part.tolist()]
    if class_names is not None and (unnamed := sorted(set(every) - class_names.keys(), key=int)):
        raise InputError(
            f"{path}: label {unnamed[0]} has no class name; names are given for {', '.join(class_names)}"
        )
    named = [(class_names or {}).get(label, label).strip().lower() for label in every]
    classes, codes = np.unique(named, return_inverse=True)
    return Listing(
        source=path.stem,
        reading=(f"arrays of {', '.join(labels)}, each with its labels",),
        classes=tuple(classes.tolist()),
        names=tuple(f"{part}/{number:06d}" for part, those in labels.items() for number in range(len(those))),
        labels=codes.astype(np.int64),
        parts=tuple(part for part, those in labels.items() for _ in range(len(those))),
    )


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
