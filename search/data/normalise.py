"""Normalisation of whole batches, by the mean and standard deviation of the training images."""

import torch
from torch import Tensor

from search.tasks import Normalisation

MEASURED_AT_ONCE = 256


def measure(images_NHWC: Tensor, indices: Tensor) -> Normalisation:
    """Measure the uint8 images (N, side, side, 3) at the indices, and no others."""
    # Histograms are exact, and adding them up needs no float copy of all the images.
    histogram = torch.zeros(3, 256, dtype=torch.float64)
    for part in indices.split(MEASURED_AT_ONCE):
        channels = images_NHWC[part].flatten(0, 2).T
        histogram += torch.stack([torch.bincount(c, minlength=256).cpu() for c in channels])
    share = histogram / histogram.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64)
    mean = (share * values).sum(1)
    variance = (share * (values - mean[:, None]) ** 2).sum(1)
    # A channel without any variation must not be divided by zero.
    red, green, blue = variance.sqrt().clamp(min=1.0).tolist()
    return Normalisation(mean=(float(mean[0]), float(mean[1]), float(mean[2])), std=(red, green, blue))


def normalise(images_NHWC: Tensor, normalisation: Normalisation) -> Tensor:
    """uint8 (N, side, side, 3) -> float32 (N, 3, side, side) in channels-last order."""
    mean, std = (torch.tensor(v, device=images_NHWC.device) for v in (normalisation.mean, normalisation.std))
    return ((images_NHWC - mean) / std).permute(0, 3, 1, 2)
