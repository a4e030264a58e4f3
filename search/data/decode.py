"""Image files as 8-bit RGB arrays: found below a folder, decoded and scaled once."""

import dataclasses
import hashlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from search.common.errors import InputError
from search.data.imageset import ImageSet, Listing

EXTENSIONS = (".tif", ".tiff", ".bmp", ".png", ".jpg", ".jpeg")
_FORMATS = ("TIFF", "BMP", "PNG", "JPEG")
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of a TIFF
_BLACK_IS_ZERO, _RGB = 1, 2  # values of the photometric tag
_INTEGER_SCALES = (255, 4095, 65535)
_FLOAT_SCALES = (1, *_INTEGER_SCALES)


def files_below(folder: Path) -> tuple[list[str], list[str]]:
    """Find the images and the other files in a folder and all folders below it.

    Returns:
        Names of the images and names of the other files, POSIX paths relative to the folder, sorted; hidden
        files and folders are ignored.
    Raises:
        InputError: the folder does not exist, is not a folder, or cannot be read; names it.
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
            elif not entry.is_symlink() or path.resolve() not in above:  # a link to a parent would never end
                yield from _walk(path, f"{prefix}{entry.name}/", above)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read one image file as 8-bit RGB.

    Transparent parts become white. EXIF orientation is applied. Only the first page of a file is read.
    Images with more than 8 bits per channel are scaled by the least of 8, 12 and 16 bits that holds their
    brightest value, never by their own minimum and maximum, so that brightness stays comparable between images.

    Returns:
        uint8, shape (height_px, width_px, 3).
    Raises:
        InputError: the file cannot be read as an image; names the file and the reason.
    """
    return _decode(path, _read_bytes(path))


def resize_square(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Crop to the centre square and scale it, averaging pixels if it shrinks.

    Args:
        rgb: uint8, shape (height_px, width_px, 3).
        side_px: side of the result.
    Returns:
        uint8, shape (side_px, side_px, 3).
    """
    height, width = rgb.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    # Cropped, not squeezed, because the shapes of cell and nucleus tell the classes apart. Not padded either:
    # a network could learn borders that differ by class. The cell is in the middle, so only neighbours are lost.
    image = Image.fromarray(rgb[top : top + short, left : left + short])
    # Pillow widens the bilinear filter by the scale factor, so no pixel is skipped.
    return np.array(image.resize((side_px, side_px), Image.Resampling.BILINEAR))


def decode_listing(folder: Path, listing: Listing, sides_px: Sequence[int], *, skip_bad: bool = False) -> ImageSet:
    """Decode every image of a listing once and scale it to each side.

    Args:
        folder: the folder that the listing's names are relative to.
        listing: the images.
        sides_px: sides of the square results.
        skip_bad: leave out damaged images, and classes without any other image, instead of raising.
    Returns:
        The images in the listing's order; arrays are read-only.
    Raises:
        InputError: a damaged image; names the first in the listing's order, and the reason.
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
    with ThreadPoolExecutor() as pool:  # Pillow releases Python's lock while it decodes
        for index, result in enumerate(pool.map(load, range(n_images))):
            if isinstance(result, bytes):
                digests.append(result)
            elif skip_bad:
                problems[index] = result
            else:
                pool.shutdown(cancel_futures=True)
                raise InputError(f"{result}; --skip-bad leaves such files out")
    return image_set(listing, pixels, digests, problems)


def image_set(
    listing: Listing,
    pixels: dict[int, NDArray[np.uint8]],
    digests: list[bytes],
    problems: Mapping[int, InputError] = MappingProxyType({}),
) -> ImageSet:
    """A listing with its pixels, without the images that could not be read.

    Args:
        listing: all images.
        pixels: side in px -> uint8 RGB array, shape (n_images, side, side, 3); becomes read-only.
        digests: of the content of each image that could be read.
        problems: index -> why that image could not be read.
    """
    kept = np.setdiff1d(np.arange(len(listing.names)), list(problems))
    if problems:  # indexing copies the arrays
        pixels = {side: array[kept] for side, array in pixels.items()}
    names = tuple(listing.names[index] for index in kept)
    # Renumbered, because classes and digest must not depend on images that were left out.
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
        parts=None if listing.parts is None else tuple(listing.parts[index] for index in kept),
        notes=(*listing.notes, *(f"left out: {error}" for error in problems.values())),
    )
    return ImageSet(**vars(bare), pixels=pixels, fingerprint=_fingerprint(bare, digests))


def _fingerprint(listing: Listing, digests: list[bytes]) -> str:
    total = hashlib.sha256()
    groups = [None] * len(digests) if listing.groups is None else listing.groups.tolist()
    for name, label, group, digest in zip(listing.names, listing.labels.tolist(), groups, digests, strict=True):
        # repr quotes the texts, so that no two different rows give the same bytes.
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
        return _to_rgb(_open(data))
    except UnidentifiedImageError:
        raise _unreadable(path, "the content is not TIFF, BMP, PNG or JPEG, or its header is damaged") from None
    except Exception as error:  # damaged files make the decoders raise nearly anything, SyntaxError included
        raise _unreadable(path, str(error) or type(error).__name__) from None


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as an image: {' '.join(reason.split())}")


def _open(data: bytes) -> Image.Image:
    """Open an image with Pillow, or with tifffile if it is a TIFF of more than 8 bits per channel.

    Of such files Pillow reads some kinds wrongly or not at all, and keeps only the upper byte of colours.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if data[:2] not in (b"II", b"MM"):  # how a TIFF begins
            raise
        return _open_wide_tiff(data)
    tags = getattr(image, "tag_v2", {})
    if max(tags.get(_BITS, (0,))) > 8 and tags.get(_PHOTOMETRIC) in (_BLACK_IS_ZERO, _RGB):
        try:
            return _open_wide_tiff(data)
        except Exception as error:
            # Without that package tifffile cannot read LZW and packed 12 bits, which Pillow can.
            if "imagecodecs" not in str(error):
                raise
    return image


def _open_wide_tiff(data: bytes) -> Image.Image:
    """Open the first page of a grey or RGB TIFF, scaled to 8 bits."""
    import tifffile  # a tenth of a second, which only such files are worth

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what it also raises
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if not len(file.pages):
            raise UnidentifiedImageError
        page = file.pages.first
        values = page.asarray()
    if page.photometric == _BLACK_IS_ZERO and values.ndim == 2:
        image = Image.fromarray(_to_uint8(values))
    elif page.photometric == _RGB and values.ndim == 3:
        channels = np.moveaxis(values, page.axes.index("S"), -1)
        image = Image.fromarray(_to_uint8(channels[:, :, :3]))
        if page.extrasamples and page.extrasamples[0] == tifffile.EXTRASAMPLE.UNASSALPHA:
            opaque = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
            image.putalpha(Image.fromarray(np.rint(channels[:, :, 3] * (255 / opaque)).astype(np.uint8)))
    else:
        raise ValueError("a TIFF that is neither grey nor RGB; save it as 8-bit RGB")
    if _ORIENTATION in page.tags:
        image.getexif()[_ORIENTATION] = page.tags[_ORIENTATION].value
    return image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    upper_byte = _is_cut_to_upper_byte(image)  # asked first: loading drops the file's layout
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or upright.mode.startswith("I"):
        grey = _to_uint8(np.asarray(upright))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    rgb = np.array(upright.convert("RGB"))
    if upper_byte and rgb.max() < 16:
        # Of 12 bits in a 16-bit file, only 16 shades would be left.
        raise ValueError("16-bit colour that uses at most the lowest 12 bits; save it as 8-bit colour")
    return rgb


def _is_cut_to_upper_byte(image: Image.Image) -> bool:
    """Whether Pillow reads 16-bit colour by its upper bytes."""
    return ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I")


def _to_uint8(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale values of more than 8 bits.

    A 12-bit camera stores 0..4095 in 16-bit files; scaled by the full 16 bits, its images would keep 16 shades.
    Bright-field images have a bright background, so the brightest value tells the camera's bits.
    """
    exact = values.astype(np.float64)
    if not np.isfinite(exact).all():
        raise ValueError("it has values that are not finite")
    scales = _FLOAT_SCALES if np.issubdtype(values.dtype, np.floating) else _INTEGER_SCALES
    brightest = exact.max()
    full = next((scale for scale in scales if brightest <= scale), None)
    if full is None:
        raise ValueError(f"it has values up to {brightest:g}, more than 16 bits")
    return np.rint(exact.clip(min=0) * (255 / full)).astype(np.uint8)
