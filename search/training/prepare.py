"""Preparation of a data set's images: one stain, one background and one scale for all laboratories.

Everything is measured on all given images together, never on labels. By each image alone, a pale cell would become
a dark one, and a small nucleus a large one.
"""

import hashlib
import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from search.space import Preparation
from search.training.augment import resampled
from search.training.nuclei import background, densities, nuclei, surroundings
from search.training.types import Images

Pixels = NDArray[np.uint8]
Colours = NDArray[np.float64]

# What is kept around a nucleus, of the side: at most this much of the cytoplasm is seen around nuclei.
KEPT_SHARE = 1 / 8
# The side of a square as large as the nucleus, of the side of the image, for the smallest nuclei: lymphocytes are
# in every laboratory's slides, and means would depend on the classes that it has sent. Of four laboratories, the
# 5th percentiles are 0.27, 0.26, 0.44 and 0.27, the medians 0.31, 0.40, 0.52 and 0.33.
NUCLEUS_SHARE, NUCLEUS_PERCENTILE = 0.27, 5
FURTHEST_ZOOM = 2.0

# From red, green and blue to responses of cones, and from their logarithms to lightness and two opposed colours.
TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
TO_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
# Of the cells of CellaVision's images in that space: mean and standard deviation of each axis.
REFERENCE_MEAN = np.array([-0.322, -0.104, 0.005])
REFERENCE_STD = np.array([0.308, 0.119, 0.0055])

# Densities of two stains (red, green, blue) and the 99th percentile of their amounts, in the same cells.
REFERENCE_STAINS = np.array([[0.665, 0.737, 0.118], [0.380, 0.903, 0.199]]).T
REFERENCE_AMOUNTS = np.array([1.375, 1.412])
STAINED, ANGLE_PERCENTILE, AMOUNT_PERCENTILE = 0.15, 1.0, 99.0

# Prepared data sets that a worker keeps: preparing takes about a tenth of the time of a training.
KEPT = 4
_kept: dict[tuple[Preparation, bytes], Pixels] = {}


def prepared_images(images: Images, side_px: int, preparation: Preparation) -> Images:
    """A data set with its images of one side prepared; once in a process for each preparation."""
    pixels = images.pixels[side_px]
    if preparation == Preparation():
        return images
    key = (preparation, hashlib.blake2b(np.ascontiguousarray(pixels).data).digest())
    if key not in _kept:
        while len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = prepare(pixels, preparation)
    return replace(images, pixels={side_px: _kept[key]})


def prepare(images_NHWC: Pixels, preparation: Preparation) -> Pixels:
    """Prepare images of one laboratory, uint8 (N, side, side, 3).

    Images in which no nucleus is found keep their background.

    Returns:
        The images themselves if nothing is asked for, else a new array of the same shape.
    """
    if preparation == Preparation() or len(images_NHWC) == 0:
        return images_NHWC
    found = nuclei(images_NHWC)
    if preparation.scale == "nucleus":
        images_NHWC = zoomed(images_NHWC, zoom_factor(found))
        found = nuclei(images_NHWC)
    cells: NDArray[np.bool_] = surroundings(found, round(images_NHWC.shape[1] * KEPT_SHARE))
    if preparation.stain != "kept":
        images_NHWC = stained(images_NHWC, cells, preparation.stain)
    if preparation.background == "white":
        without = ~cells.any(axis=(1, 2), keepdims=True)
        images_NHWC = np.where((cells | without)[..., None], images_NHWC, np.uint8(255))
    return images_NHWC


def zoom_factor(nuclei_NHW: NDArray[np.bool_]) -> float:
    """The factor that gives small nuclei their fixed size; 1 where none is found."""
    areas = nuclei_NHW.sum((1, 2))
    if not areas.any():
        return 1.0
    share = math.sqrt(np.percentile(areas[areas > 0], NUCLEUS_PERCENTILE)) / nuclei_NHW.shape[1]
    return min(FURTHEST_ZOOM, max(1 / FURTHEST_ZOOM, NUCLEUS_SHARE / share))


def zoomed(images_NHWC: Pixels, factor: float) -> Pixels:
    """Enlarge what is seen by a factor about the centre; beyond its border an image is mirrored."""
    planes = torch.from_numpy(np.ascontiguousarray(images_NHWC)).permute(0, 3, 1, 2).float()
    n = len(planes)
    result = resampled(planes, torch.full((n,), factor), torch.zeros(n))
    rounded: Pixels = result.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return rounded


def stained(images_NHWC: Pixels, cells_NHW: NDArray[np.bool_], stain: str) -> Pixels:
    """Match the colours of the cells, see `Preparation.stain`.

    Args:
        cells_NHW: where the cells are; without any, only the background becomes white.
    """
    if stain == "white" or not cells_NHW.any():
        return _to_values(images_NHWC / background(images_NHWC))
    density = densities(images_NHWC)
    if stain == "reinhard":
        return _to_values(_reinhard(np.exp(-density), cells_NHW))
    return _to_values(np.exp(-_macenko(density, cells_NHW)))


def reinhard_axes(shares: NDArray[np.floating]) -> Colours:
    """Lightness and two opposed colours (..., 3) of shares of the light (..., 3), above 0.

    Source: E. Reinhard et al., Color transfer between images, IEEE CG&A (2001).
    """
    return np.log10(shares @ TO_LMS.T) @ TO_LAB.T


def macenko_stains(densities_N3: NDArray[np.floating]) -> Colours:
    """Densities of two stains, (3, 2) of unit length, the one that absorbs more red first, from stained pixels.

    Source: M. Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI (2009).
    """
    plane = np.linalg.eigh(np.cov(densities_N3.T))[1][:, 1:]
    # The plane's axes point either way; densities are positive.
    plane *= np.where(plane.sum(0) < 0, -1, 1)
    projected = densities_N3 @ plane
    angles = np.percentile(
        np.arctan2(projected[:, 1], projected[:, 0]), (ANGLE_PERCENTILE, 100 - ANGLE_PERCENTILE)
    )
    ends = plane @ np.stack([np.cos(angles), np.sin(angles)])
    return ends if ends[0, 0] > ends[0, 1] else ends[:, ::-1]


def amounts_of(stains: Colours, densities_N3: NDArray[np.floating]) -> Colours:
    """Amounts (N, 2) of two stains that give densities (N, 3), by least squares."""
    return densities_N3 @ np.linalg.pinv(stains).T


def _reinhard(shares: NDArray[np.float32], cells_NHW: NDArray[np.bool_]) -> Colours:
    axes = reinhard_axes(shares)
    of_cells = axes[cells_NHW]
    spread = np.maximum(of_cells.std(0), 1e-6)
    matched = (axes - of_cells.mean(0)) / spread * REFERENCE_STD + REFERENCE_MEAN
    return (10 ** (matched @ np.linalg.inv(TO_LAB).T)) @ np.linalg.inv(TO_LMS).T


def _macenko(density: NDArray[np.float32], cells_NHW: NDArray[np.bool_]) -> Colours:
    of_cells = density[cells_NHW]
    dyed = of_cells[np.linalg.norm(of_cells, axis=1) > STAINED]
    if len(dyed) < 3:  # no plane goes through them
        return density.astype(np.float64)
    stains = macenko_stains(dyed)
    amounts = amounts_of(stains, density)
    most = np.maximum(np.percentile(amounts_of(stains, of_cells), AMOUNT_PERCENTILE, axis=0), 1e-6)
    return (amounts * (REFERENCE_AMOUNTS / most)) @ REFERENCE_STAINS.T


def _to_values(shares: NDArray[np.floating]) -> Pixels:
    """Shares of the light as uint8."""
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
