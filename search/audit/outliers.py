"""Images that are unlike the others of their data set in scale, sharpness or colour."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Robust z scores beyond which an image stands out. Sharpness and colour differ between the classes, so an image is
# held against its own class where that has enough images.
LEAST_SHARP_Z = -4.0
LARGEST_COLOUR_Z = 5.0
LARGEST_SIZE_Z = 6.0
_ENOUGH = 20
# The standard deviation of a normal distribution in median absolute deviations.
_SD_PER_MAD = 1.4826


def robust_z(values: NDArray[np.float64], least_sd: float) -> NDArray[np.float64]:
    """Distance from the median in robust standard deviations.

    Args:
        values: shape (n,).
        least_sd: the smallest spread to divide by, in the unit of the values: differences far below it do not
            matter, however rare they are.
    Source: Iglewicz and Hoaglin, How to detect and handle outliers (1993).
    """
    middle = np.median(values)
    return (values - middle) / max(_SD_PER_MAD * float(np.median(np.abs(values - middle))), least_sd)


def z_by_class(values: NDArray[np.float64], labels: NDArray[np.int64], least_sd: float) -> NDArray[np.float64]:
    """Robust z scores within classes; classes of fewer than 20 images are held against all images."""
    z = robust_z(values, least_sd)
    for places in _large_classes(labels):
        z[places] = robust_z(values[places], least_sd)
    return z


def blurred(sharpness: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each image is far less sharp than its class.

    Args:
        sharpness: logarithms of the variance of the Laplacian, shape (n_images,).
    """
    return z_by_class(sharpness, labels, least_sd=0.2) < LEAST_SHARP_Z


def off_colour(channels: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the mean colour or density of an image is far from its class.

    Args:
        channels: optical density in hundredths, L*, a* and b*, shape (n_images, 4).
    """
    z = np.stack([z_by_class(channel, labels, least_sd=1.0) for channel in channels.T])
    return np.abs(z).max(axis=0) > LARGEST_COLOUR_Z


def off_size(size_px: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the scale or shape of an image is far from the others.

    Args:
        size_px: width and height, shape (n_images, 2).
    """
    logs = np.log(size_px.astype(np.float64))
    z = np.stack([robust_z(logs.sum(axis=1) / 2, 0.05), robust_z(logs[:, 0] - logs[:, 1], 0.05)])
    return np.abs(z).max(axis=0) > LARGEST_SIZE_Z


def _large_classes(labels: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        if len(places) >= _ENOUGH:
            yield places
