"""Image files as 8-bit RGB arrays."""

import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from search.common.errors import InputError

_FORMATS = ("TIFF", "BMP", "PNG", "JPEG")
_BITS, _PHOTOMETRIC, _DESCRIPTION, _ORIENTATION = 258, 262, 270, 274  # tags of a TIFF
_BLACK_IS_ZERO, _RGB = 1, 2  # values of the photometric tag

Kind = Literal["integer", "float"]
_SCALES: dict[Kind, tuple[int, ...]] = {"integer": (255, 4095, 65535), "float": (1, 255, 4095, 65535)}
# Interpolation and rounding lead floating point a little beyond its range.
_OVERSHOOT: dict[Kind, float] = {"integer": 0.0, "float": 0.01}

IGNORED_ALPHA = "an alpha channel that is the same everywhere; it is ignored"
FIRST_PAGE = "several pages, of which the first is read"


@dataclass(frozen=True)
class Wide:
    """The range of an image with more than 8 bits per channel: its type and its brightest value."""

    kind: Kind
    brightest: float

    @property
    def full(self) -> int:
        """The least usual scale that holds the brightest value.

        Raises:
            ValueError: there is none.
        """
        for scale in _SCALES[self.kind]:
            if self.brightest <= scale * (1 + _OVERSHOOT[self.kind]):
                return scale
        raise ValueError(f"it has values up to {self.brightest:g}, more than 16 bits")


@dataclass(frozen=True)
class Decoded:
    """An image as 8-bit RGB.

    Attributes:
        rgb: uint8, shape (height_px, width_px, 3).
        wide: its range; None if it has 8 bits.
        oddities: what the user should know, in words that follow "it has".
    """

    rgb: NDArray[np.uint8]
    wide: Wide | None = None
    oddities: tuple[str, ...] = ()


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read one image file as 8-bit RGB; if it has more bits, by its own range. See `decode`.

    Raises:
        InputError: the file cannot be read as an image; names the file and the reason.
    """
    return decode(path, read_bytes(path)).rgb


def decode(path: Path, data: bytes, full: int | None = None) -> Decoded:
    """Decode an image file.

    Transparent parts become white, unless the transparency is the same everywhere. EXIF orientation is applied. Of
    several pages the first is read; three pages of one channel each are red, green and blue. More than 8 bits per
    channel are scaled by a full scale, never by the image's own minimum and maximum, so that brightness stays
    comparable between images.

    Args:
        path: for messages.
        data: the file's contents.
        full: the value that becomes 255, if the image has more than 8 bits; None: the least of 1 (floating point
            only), 255, 4095 and 65535 that holds the brightest value.
    Raises:
        InputError: it cannot be read as an image; names the file and the reason.
    """
    if not data:
        raise _unreadable(path, "the file is empty")
    try:
        return _decoded(data, full)
    except UnidentifiedImageError:
        raise _unreadable(path, "the content is not TIFF, BMP, PNG or JPEG, or its header is damaged") from None
    except Exception as error:  # damaged files make the decoders raise nearly anything, SyntaxError included
        raise _unreadable(path, str(error) or type(error).__name__) from None


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        InputError: it cannot be read; names the file and the reason.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


def pillow_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """An image of Pillow as 8-bit RGB, converted as `decode` converts a file's.

    Args:
        name: for messages.
    Raises:
        InputError: it cannot be converted; names it and the reason.
    """
    try:
        return _to_rgb(image, None).rgb
    except Exception as error:  # the image may not be loaded yet, and its file damaged
        raise _unreadable(Path(name), str(error) or type(error).__name__) from None


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


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as an image: {' '.join(reason.split())}")


def _decoded(data: bytes, full: int | None) -> Decoded:
    """Decode with Pillow, or with tifffile if it is a TIFF of more than 8 bits per channel or of several pages.

    Of wide files Pillow reads some kinds wrongly or not at all, and keeps only the upper byte of colours.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if data[:2] not in (b"II", b"MM"):  # how a TIFF begins
            raise
        return _decoded_tiff(data, full)
    tags = getattr(image, "tag_v2", {})
    wide = max(tags.get(_BITS, (0,))) > 8
    if tags.get(_PHOTOMETRIC) in (_BLACK_IS_ZERO, _RGB) and (wide or _n_pages(image) == 3):
        try:
            return _decoded_tiff(data, full)
        except Exception as error:
            # Without that package tifffile cannot read LZW and packed 12 bits, which Pillow can.
            if "imagecodecs" not in str(error):
                raise
    return _to_rgb(image, full, FIRST_PAGE if _n_pages(image) > 1 else None)


def _n_pages(image: Image.Image) -> int:
    """Number of pages; ImageJ may keep several in one."""
    described = re.search(
        r"^ImageJ=.*?\bimages=(\d+)", str(getattr(image, "tag_v2", {}).get(_DESCRIPTION, "")), re.DOTALL
    )
    return max(getattr(image, "n_frames", 1), int(described[1]) if described else 1)


def _decoded_tiff(data: bytes, full: int | None) -> Decoded:
    """Decode a grey or RGB TIFF with tifffile."""
    import tifffile  # a tenth of a second, which only such files are worth

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what it also raises
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if not len(file.pages):
            raise UnidentifiedImageError
        page, series = file.pages.first, file.series[0]
        planes = page.photometric == _BLACK_IS_ZERO and series.ndim == 3 and series.shape[0] == 3
        values = series.asarray() if planes else page.asarray()
        n_pages = max(len(file.pages), series.size // max(1, values.size))
    alpha = None
    if planes:
        values = np.moveaxis(values, 0, -1)
    elif page.photometric == _RGB and values.ndim == 3:
        channels = np.moveaxis(values, page.axes.index("S"), -1)
        values = channels[:, :, :3]
        if page.extrasamples and page.extrasamples[0] == tifffile.EXTRASAMPLE.UNASSALPHA:
            alpha = channels[:, :, 3]
    elif page.photometric != _BLACK_IS_ZERO or values.ndim != 2:
        raise ValueError("a TIFF that is neither grey nor RGB; save it as 8-bit RGB")
    wide = None
    if values.dtype == np.uint8:
        image = Image.fromarray(values)
    else:
        wide, shades = _to_uint8(values, full)
        image = Image.fromarray(shades)
    if alpha is not None:
        opaque = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
        image.putalpha(Image.fromarray(np.rint(alpha * (255 / opaque)).astype(np.uint8)))
    if _ORIENTATION in page.tags:
        image.getexif()[_ORIENTATION] = page.tags[_ORIENTATION].value
    rest = _to_rgb(image, full, FIRST_PAGE if n_pages > 1 and not planes else None)
    return Decoded(rest.rgb, wide, rest.oddities)


def _to_rgb(image: Image.Image, full: int | None, *oddities: str | None) -> Decoded:
    """Convert an image of any mode, turned upright."""
    found = [each for each in oddities if each is not None]
    upper_byte = _is_cut_to_upper_byte(image)  # asked first: loading drops the file's layout
    turned = image.getexif().get(_ORIENTATION, 1) != 1
    upright = ImageOps.exif_transpose(image) if turned else image  # it copies even what is upright
    if upright.mode == "F" or upright.mode.startswith("I"):
        wide, grey = _to_uint8(np.asarray(upright), full)
        return Decoded(np.repeat(grey[:, :, None], 3, axis=2), wide, tuple(found))
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        if alpha.min() == alpha.max():  # it tells no cell from its surroundings, and 0 would hide everything
            found += [IGNORED_ALPHA] if alpha.max() < 255 else []
            upright = rgba.convert("RGB")
        else:
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    rgb = np.array(upright.convert("RGB"))
    if upper_byte and rgb.max() < 16:
        # Of 12 bits in a 16-bit file, only 16 shades would be left.
        raise ValueError("16-bit colour that uses at most the lowest 12 bits; save it as 8-bit colour")
    return Decoded(rgb, None, tuple(found))


def _is_cut_to_upper_byte(image: Image.Image) -> bool:
    """Whether Pillow reads 16-bit colour by its upper bytes."""
    return ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I")


def _to_uint8(values: NDArray[np.generic], full: int | None) -> tuple[Wide, NDArray[np.uint8]]:
    """Scale values of more than 8 bits.

    A 12-bit camera stores 0..4095 in 16-bit files; scaled by the full 16 bits, its images would keep 16 shades.
    Bright-field images have a bright background, so the brightest value tells the camera's bits.
    """
    exact = values.astype(np.float64)
    if not np.isfinite(exact).all():
        raise ValueError("it has values that are not finite")
    kind: Kind = "float" if np.issubdtype(values.dtype, np.floating) else "integer"
    wide = Wide(kind, float(exact.max()))
    scale = wide.full if full is None else full
    if exact.min() < -scale * _OVERSHOOT[kind]:
        raise ValueError(
            f"it has negative values, down to {exact.min():g}; save it with 0 as black, not standardised"
        )
    return wide, np.rint(exact.clip(0, scale) * (255 / scale)).astype(np.uint8)
