"""Batches of images, augmented and normalised on the device."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.space import N_ORIENTATIONS, Augmentation
from search.training.augment import augment
from search.training.device import Device
from search.training.types import Normalisation

MEASURED_AT_ONCE = 256
# Many batches are prepared at a time, which takes fewer calls: 32 MB in float32.
PREPARED_AT_ONCE = 2**23
# Augmentation passes over its images many times: 2 MB, which a core's cache holds.
AUGMENTED_AT_ONCE = 2**19


def shared_tensor(array: NDArray[np.generic]) -> Tensor:
    """A tensor on the array's memory, which may be read-only because all workers share it."""
    with warnings.catch_warnings():
        # torch warns that writing would be undefined behaviour; nothing here writes to images or labels.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def prepared(
    images_NHWC: Tensor,
    batches: tuple[Tensor, ...],
    normalisation: Normalisation,
    generator: torch.Generator,
    device: Device,
    augmentation: Augmentation,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each batch of image indices with its augmented and normalised images, (N, 3, side, side)."""
    n_values = len(batches[0]) * images_NHWC[0].numel()
    most = PREPARED_AT_ONCE if augmentation == Augmentation() else AUGMENTED_AT_ONCE
    at_once = max(1, most // n_values)
    for first in range(0, len(batches), at_once):
        some = batches[first : first + at_once]
        turned = flips_and_quarter_turns(images_NHWC[torch.cat(some)], generator)
        images = normalise(augment(turned, augmentation, generator), normalisation)
        images = images.bfloat16() if device.bf16 else images
        yield from zip(some, images.split([len(batch) for batch in some]), strict=True)


def flips_and_quarter_turns(images_NHWC: Tensor, generator: torch.Generator) -> Tensor:
    """Turn and flip every image to one of the eight orientations of a square, all equally likely.

    Args:
        images_NHWC: uint8, (N, side, side, C), on any device.
        generator: a CPU generator, so that a seed gives the same draws on every device.
    Returns:
        A new tensor of the same shape.
    """
    orientations = draw_orientations(len(images_NHWC), generator)
    turned = torch.empty_like(images_NHWC)
    for orientation in range(N_ORIENTATIONS):
        chosen = (orientations == orientation).nonzero().flatten().to(images_NHWC.device)
        if len(chosen):
            turned[chosen] = in_orientation(images_NHWC[chosen], orientation)
    return turned


def draw_orientations(n_images: int, generator: torch.Generator) -> Tensor:
    """Draw an orientation for each image, int64 below N_ORIENTATIONS, (n_images,), on the CPU."""
    return torch.randint(N_ORIENTATIONS, (n_images,), generator=generator)


def in_orientation(images_NHWC: Tensor, orientation: int) -> Tensor:
    """Images (N, side, side, C), all turned and flipped to one of the orientations of a square."""
    flipped = images_NHWC.flip(2) if orientation >= N_ORIENTATIONS // 2 else images_NHWC
    return torch.rot90(flipped, orientation % 4, dims=(1, 2))


def measure(images_NHWC: Tensor, indices: Tensor) -> Normalisation:
    """Measure mean and standard deviation of the uint8 images (N, side, side, 3) at the indices."""
    # Histograms are exact and need no copy of all images in floating point.
    histogram = torch.zeros(3, 256, dtype=torch.float64)
    for part in indices.split(MEASURED_AT_ONCE):
        channels = images_NHWC[part].flatten(0, 2).T
        histogram += torch.stack([torch.bincount(c, minlength=256).cpu() for c in channels])
    share = histogram / histogram.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64)
    mean = (share * values).sum(1)
    variance = (share * (values - mean[:, None]) ** 2).sum(1)
    # A constant channel must not lead to a division by zero.
    red, green, blue = variance.sqrt().clamp(min=1.0).tolist()
    return Normalisation(mean=(float(mean[0]), float(mean[1]), float(mean[2])), std=(red, green, blue))


def normalise(images_NHWC: Tensor, normalisation: Normalisation) -> Tensor:
    """uint8 or float (N, side, side, 3) -> float32 (N, 3, side, side) in channels-last order."""
    mean, std = (torch.tensor(v, device=images_NHWC.device) for v in (normalisation.mean, normalisation.std))
    return ((images_NHWC - mean) / std).permute(0, 3, 1, 2)
