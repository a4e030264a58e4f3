"""What is measured of one image: pixels in, numbers out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data.decode import resize_square

THUMBNAIL_PX = 64
RING_SIDE_PX, RING_PX = 32, 2
# Black padding is exactly black in most files; JPEG blurs it a little. Nothing in a bright field is this dark.
BLACK = 12
_TWO_TONE_SPREAD = 6
# Light that is lost at a grey level of 0 is infinite: half a level is the darkest that 8 bits can tell.
_DARKEST = 0.5


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One image in numbers.

    Attributes:
        sharpness: natural logarithm of the variance of the Laplacian of the grey levels, black padding left out.
        optical_density: mean over channels and pixels of -log10(level / 255), black padding left out.
        lightness, green_red, blue_yellow: mean CIE L*, a*, b* (D65), black padding left out.
        black_share: share of pixels with all three channels below 12 of 255.
        two_tone_share: share of pixels within 6 grey levels of the darkest or of the brightest one.
        thumbnail: grey centre square, uint8, shape (64, 64).
        ring: outermost two pixels of the centre square at 32 x 32, uint8, shape (240, 3).
    """

    sharpness: float
    optical_density: float
    lightness: float
    green_red: float
    blue_yellow: float
    black_share: float
    two_tone_share: float
    thumbnail: NDArray[np.uint8]
    ring: NDArray[np.uint8]


def measure(rgb: NDArray[np.uint8]) -> Measures:
    """Measure one image.

    Args:
        rgb: uint8, shape (height_px, width_px, 3).
    """
    grey = grey_levels(rgb)
    black = rgb.max(axis=2) < BLACK
    square = resize_square(rgb, THUMBNAIL_PX)
    shown = square[square.max(axis=2) >= BLACK]
    if not len(shown):
        shown = square.reshape(-1, 3)
    lightness, green_red, blue_yellow = _mean_lab(shown)
    low, high = int(grey.min()), int(grey.max())
    return Measures(
        sharpness=_sharpness(grey, black),
        optical_density=float(-np.log10(np.maximum(shown, _DARKEST) / 255).mean()),
        lightness=lightness,
        green_red=green_red,
        blue_yellow=blue_yellow,
        black_share=float(black.mean()),
        two_tone_share=float(((grey <= low + _TWO_TONE_SPREAD) | (grey >= high - _TWO_TONE_SPREAD)).mean()),
        thumbnail=grey_levels(square),
        ring=border_ring(resize_square(rgb, RING_SIDE_PX)),
    )


def grey_levels(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of the three channels, uint8, shape (..., height_px, width_px)."""
    return (rgb.sum(axis=-1, dtype=np.uint16) // 3).astype(np.uint8)


def border_ring(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost two pixels of square images.

    Args:
        squares: uint8, shape (..., 32, 32, 3).
    Returns:
        uint8, shape (..., 240, 3).
    """
    inside = slice(RING_PX, RING_SIDE_PX - RING_PX)
    is_border = np.ones((RING_SIDE_PX, RING_SIDE_PX), bool)
    is_border[inside, inside] = False
    return squares[..., is_border, :]


def _sharpness(grey: NDArray[np.uint8], black: NDArray[np.bool_]) -> float:
    """Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000)."""
    from scipy import ndimage

    edges = ndimage.laplace(grey.astype(np.float32), mode="nearest")
    if black.any():  # the edge of the padding is not one of the picture
        edges = edges[~ndimage.binary_dilation(black, iterations=2)]
    # One level in 255 is what rounding adds; without it a blank image would have no logarithm.
    return float(np.log(edges.var() + 1.0)) if edges.size else 0.0


def _mean_lab(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    from skimage.color import rgb2lab

    lightness, green_red, blue_yellow = rgb2lab(pixels[None])[0].mean(axis=0).tolist()
    return lightness, green_red, blue_yellow
