"""Nuclei in small images of single white cells, found in all images of a data set at once.

The dyes of May-Grünwald-Giemsa and related stains make nuclei purple: they absorb more green than red and blue.
Red cells absorb blue as well and unstained glass nothing, whatever the laboratory. For the cell's parts in larger
images, see `wbcmodels.traditional.segment`, which takes ten times as long.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BACKGROUND_PERCENTILE = 90
DARKEST = 0.02  # so that black has a density
BINS = 64
BLUR_SHARE, GAP_SHARE, CENTRE_SHARE = 1 / 60, 1 / 20, 1 / 5  # of the side
_PLUS, _SQUARE = (
    np.stack([np.zeros((3, 3), bool), plane, np.zeros((3, 3), bool)])
    for plane in (ndimage.generate_binary_structure(2, 1), np.ones((3, 3), bool))
)


def background(images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The colour of the background of each image, (N, 1, 1, 3), at least 1 in each channel."""
    brightest = np.percentile(images_NHWC, BACKGROUND_PERCENTILE, axis=(1, 2), keepdims=True)
    return np.maximum(brightest, 1).astype(np.float32)


def densities(images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical densities relative to each image's background, (N, side, side, 3), from 0 to 3.9."""
    shares = images_NHWC / background(images_NHWC)
    return -np.log(np.clip(shares, DARKEST, 1, dtype=np.float32))


def nuclei(images_NHWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the nucleus of the cell in the middle is, (N, side, side); nowhere in an image of one colour.

    In cells full of granules, these belong to it.
    """
    side = images_NHWC.shape[1]
    blurred = ndimage.gaussian_filter(densities(images_NHWC), (0, side * BLUR_SHARE, side * BLUR_SHARE, 0))
    red, green, blue = np.moveaxis(blurred, -1, 0)
    purple = green - (red + blue) / 2
    found = ndimage.binary_opening(purple > otsu(purple)[:, None, None], _PLUS)
    return found & _central(
        ndimage.binary_dilation(found, _SQUARE, iterations=max(1, round(side * GAP_SHARE))), found
    )


def surroundings(nuclei_NHW: NDArray[np.bool_], distance_px: int) -> NDArray[np.bool_]:
    """Masks with what is within a distance, and without holes."""
    if not distance_px:
        return nuclei_NHW
    # Turns of both neighbourhoods make an octagon, which is nearly round.
    grown = nuclei_NHW
    for step in range(distance_px):
        grown = ndimage.binary_dilation(grown, (_PLUS, _SQUARE)[step % 2])
    return ndimage.binary_fill_holes(grown, _PLUS)


def otsu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The threshold of each image's values (N, side, side) that parts them best, (N,).

    Of an image of one value, that value.

    Source: N. Otsu, A threshold selection method from gray-level histograms (1979).
    """
    flat = values.reshape(len(values), -1)
    low, high = flat.min(1), flat.max(1)
    width = np.where(high > low, high - low, 1) / BINS
    bins = np.minimum((flat - low[:, None]) / width[:, None], BINS - 1).astype(np.int64)
    numbers = (bins + BINS * np.arange(len(values))[:, None]).ravel()
    histogram = np.bincount(numbers, minlength=BINS * len(values)).reshape(-1, BINS)
    below, sums = histogram.cumsum(1), (histogram * np.arange(BINS)).cumsum(1)
    above = below[:, -1:] - below
    # Between-class variance, times a constant; 0 where one class is empty.
    difference = sums[:, -1:] * below - sums * below[:, -1:]
    between = difference.astype(np.float64) ** 2 / np.maximum(below * above, 1)
    return (low + np.where(high > low, (between.argmax(1) + 1) * width, 0)).astype(np.float32)


def _central(regions: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of each image, the connected region with the most that is found near the centre."""
    n, side = regions.shape[:2]
    offsets = (np.arange(side) - (side - 1) / 2) / (side * CENTRE_SHARE)
    near = np.exp(-(offsets[:, None] ** 2) - offsets**2)
    labels, n_regions = ndimage.label(regions, _SQUARE)
    scores = np.bincount(labels.ravel(), (near * found).ravel(), minlength=n_regions + 1)
    image_of = np.zeros(n_regions + 1, np.int64)
    image_of[labels] = np.broadcast_to(np.arange(n)[:, None, None], labels.shape)
    order = np.argsort(scores[1:]) + 1  # the best of an image is written last
    best = np.full(n, -1)
    best[image_of[order]] = order
    return labels == best[:, None, None]
