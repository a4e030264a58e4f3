"""Image files, found below a folder and turned into 8-bit RGB arrays: read, decoded and scaled once."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from search.common.errors import InputError
from search.data.imageset import ImageSet, Listing

EXTENSIONS = (".tif", ".tiff", ".bmp", ".png", ".jpg", ".jpeg")
_FORMATS = ("TIFF", "BMP", "PNG", "JPEG")
_INTEGER_SCALES = (255, 4095, 65535)
_FLOAT_SCALES = (1, *_INTEGER_SCALES)


def files_below(folder: Path) -> tuple[list[str], list[str]]:
    """Find the images and the other files in a folder and all folders below it.

    Returns:
        Names of the images and names of the other files, POSIX paths relative to the folder, sorted; hidden
        files and folders are passed over.
    Raises:
        InputError: the folder is missing, no folder, or cannot be read; names it.
    """
    try:
        if not folder.exists():
            raise InputError(f"{folder}: no such folder")
        if not folder.is_dir():
            raise InputError(f"{folder}: not a folder")
        names = sorted(_walk(folder, "", frozenset()))
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from None
    images = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    return images, sorted(set(names) - set(images))


def _walk(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[str]:
    above |= {folder.resolve()}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield prefix + entry.name
            elif not entry.is_symlink() or path.resolve() not in above:  # else a link in a circle
                yield from _walk(path, f"{prefix}{entry.name}/", above)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read one image file as 8-bit RGB.

    Transparent parts become white. EXIF orientation is applied; of several pages the first is taken.
    Grey images with more than 8 bits are scaled by the least of 8, 12 and 16 bits that holds their brightest
    pixel, never by their own minimum and maximum, so that brightness stays comparable between images.

    Returns:
        uint8, shape (height_px, width_px, 3).
    Raises:
        InputError: the file cannot be read as an image; names the file and the reason.
    """
    return _decode(path, _read_bytes(path))


def resize_square(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Cut the centre square out and scale it, averaging where it shrinks.

    Args:
        rgb: uint8, shape (height_px, width_px, 3).
        side_px: side of the result.
    Returns:
        uint8, shape (side_px, side_px, 3).
    """
    height, width = rgb.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    # Cut, not squeezed: the shape of cell and nucleus tells the classes apart. Not padded either: borders
    # that differ by class are a shortcut. A crop has its cell in the middle, so its ends hold neighbours.
    image = Image.fromarray(rgb[top : top + short, left : left + short])
    # Pillow widens the bilinear filter by the shrink factor, so no pixel is skipped.
    return np.array(image.resize((side_px, side_px), Image.Resampling.BILINEAR))


def decode_listing(folder: Path, listing: Listing, sides_px: Sequence[int], *, skip_bad: bool = False) -> ImageSet:
    """Decode every image of a listing once and scale it to each side.

    Args:
        folder: where the listing's names start.
        listing: the images.
        sides_px: sides of the square results.
        skip_bad: leave damaged images out, and classes that have no other, instead of raising.
    Returns:
        The images in the listing's order; arrays are read-only.
    Raises:
        InputError: a damaged image, the first in the listing's order; names the file and the reason.
    """
    n_images = len(listing.names)
    pixels = {side: np.zeros((n_images, side, side, 3), np.uint8) for side in sides_px}

    def load(index: int) -> bytes | InputError:
        path = folder / listing.names[index]
        try:
            data = _read_bytes(path)
            rgb = _decode(path, data)
        except InputError as error:
            return error
        for side, array in pixels.items():
            array[index] = resize_square(rgb, side)
        return hashlib.sha256(data).digest()

    digests: list[bytes] = []
    problems: dict[int, InputError] = {}
    with ThreadPoolExecutor() as pool:  # Pillow decodes and scales outside Python's lock
        for index, result in enumerate(pool.map(load, range(n_images))):
            if isinstance(result, bytes):
                digests.append(result)
            elif skip_bad:
                problems[index] = result
            else:
                pool.shutdown(cancel_futures=True)
                raise InputError(f"{result}; --skip-bad leaves such files out")
    return _image_set(listing, pixels, digests, problems)


def _image_set(
    listing: Listing,
    pixels: dict[int, NDArray[np.uint8]],
    digests: list[bytes],
    problems: dict[int, InputError],
) -> ImageSet:
    kept = np.setdiff1d(np.arange(len(listing.names)), list(problems))
    if problems:  # indexing copies; without problems the arrays stay as they are
        pixels = {side: array[kept] for side, array in pixels.items()}
    names = tuple(listing.names[index] for index in kept)
    # Numbered anew: the digest and the classes must not depend on images that were left out.
    codes, labels = np.unique(listing.labels[kept], return_inverse=True)
    classes = tuple(listing.classes[code] for code in codes)
    groups = None if listing.groups is None else np.unique(listing.groups[kept], return_inverse=True)[1]
    for array in (labels, groups, *pixels.values()):
        if array is not None:
            array.flags.writeable = False
    bare = dataclasses.replace(
        listing,
        classes=classes,
        names=names,
        labels=labels,
        groups=groups,
        notes=(*listing.notes, *(f"left out: {error}" for error in problems.values())),
    )
    return ImageSet(**vars(bare), pixels=pixels, fingerprint=_fingerprint(bare, digests))


def _fingerprint(listing: Listing, digests: list[bytes]) -> str:
    total = hashlib.sha256()
    groups = [None] * len(digests) if listing.groups is None else listing.groups.tolist()
    for name, label, group, digest in zip(listing.names, listing.labels.tolist(), groups, digests, strict=True):
        # repr quotes the texts, so that no two different rows run together into the same bytes.
        total.update(repr((name, listing.classes[label], group)).encode("utf-8", "surrogateescape"))
        total.update(digest)
    return total.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


def _decode(path: Path, data: bytes) -> NDArray[np.uint8]:
    if not data:
        raise _unreadable(path, "the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return _to_rgb(image)
    except UnidentifiedImageError:
        raise _unreadable(path, "the content is not TIFF, BMP, PNG or JPEG, or its head is damaged") from None
    except Exception as error:  # damaged files make Pillow raise nearly anything, SyntaxError included
        raise _unreadable(path, str(error) or type(error).__name__) from None


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as an image: {' '.join(reason.split())}")


def _to_rgb(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    wide_colour = _is_wide_colour(image)  # asked first: loading drops the file's layout
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or upright.mode.startswith("I"):
        grey = _grey_to_uint8(np.asarray(upright))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    rgb = np.array(upright.convert("RGB"))
    if wide_colour and rgb.max() < 16:
        # Pillow keeps the upper byte alone: of 12 bits in a 16-bit file only 16 shades are left.
        raise ValueError("16-bit colour that uses at most the lowest 12 bits; save it as 8-bit colour")
    return rgb


def _is_wide_colour(image: ImageFile.ImageFile) -> bool:
    """Whether this is colour with 16 bits per channel; refuses the one layout that Pillow garbles."""
    tags = getattr(image, "tag_v2", {})  # TIFF only: 258 bits per sample, 284 planes
    bits = tags.get(258, ())
    if len(bits) > 1 and max(bits) > 8 and tags.get(284) == 2 and image.tile[0].codec_name == "raw":
        raise ValueError("16-bit TIFF with uncompressed separate colour planes; save it as 8-bit colour")
    return ";16" in str(image.tile) and not image.mode.startswith("I")


def _grey_to_uint8(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale grey values of more than 8 bits.

    A 12-bit camera stores 0..4095 in 16-bit files; by the full 16 bits its images would keep 16 shades.
    Bright-field images have a bright background, so the brightest pixel tells the camera's bits.
    """
    grey = values.astype(np.float64)
    if not np.isfinite(grey).all():
        raise ValueError("holds values that are not finite")
    scales = _FLOAT_SCALES if np.issubdtype(values.dtype, np.floating) else _INTEGER_SCALES
    brightest = grey.max()
    full = next((scale for scale in scales if brightest <= scale), None)
    if full is None:
        raise ValueError(f"holds values up to {brightest:g}, more than 16 bits")
    return np.rint(grey.clip(min=0) * (255 / full)).astype(np.uint8)
