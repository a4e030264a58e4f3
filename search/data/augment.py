"""Augmentation of whole batches: a cell has no right way up."""

import torch
from torch import Tensor


def flips_and_quarter_turns(images_NHWC: Tensor, generator: torch.Generator) -> Tensor:
    """Give every image one of the eight orientations of a square, drawn evenly.

    Args:
        images_NHWC: uint8, (N, side, side, C), on any device.
        generator: a CPU generator, so that the same seed gives the same draws on every device.
    Returns:
        A new tensor of the same shape.
    """
    orientation = torch.randint(8, (len(images_NHWC),), generator=generator)
    turned = torch.empty_like(images_NHWC)
    for k in range(8):
        chosen = (orientation == k).nonzero().flatten().to(images_NHWC.device)
        if len(chosen) == 0:
            continue
        part = images_NHWC[chosen]
        if k >= 4:
            part = part.flip(2)
        turned[chosen] = torch.rot90(part, k % 4, dims=(1, 2))
    return turned
