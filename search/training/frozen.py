"""Training of a head alone: what comes before it never changes, so its outputs are computed once.

A network sees every image in one of eight orientations. With more epochs than that, it takes fewer passes to
compute the features of all of them beforehand; for when that is done, see `search.training.cost.frozen_passes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search.space import N_ORIENTATIONS
from search.training.batches import draw_orientations, in_orientation, normalise
from search.training.device import Device
from search.training.step import forward
from search.training.types import Normalisation
from wbcmodels.network import head_name

# 60,000 images with the 512 features of the family's networks, in bfloat16.
MOST_BYTES = 500_000_000
COMPUTED_AT_ONCE = 256
TRIED = 8


@dataclass(frozen=True, eq=False)
class Features:
    """The features of some images of a data set in all orientations.

    Attributes:
        tail: what a training changes or draws: the network's dropout, if any, and its head.
        values: (n_images, N_ORIENTATIONS, n_features), on the device.
        places: index in the data set -> place in `values`.
    """

    tail: nn.Module
    values: Tensor
    places: Tensor

    def drawn(self, batches: tuple[Tensor, ...], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each batch of image indices with its features, (N, n_features), each in a random orientation."""
        for batch in batches:
            orientations = draw_orientations(len(batch), generator).to(batch.device)
            yield batch, self.values[self.places[batch], orientations]


@torch.no_grad()
def frozen_features(
    model: nn.Module, images_NHWC: Tensor, indices: Tensor, normalisation: Normalisation, device: Device
) -> Features | None:
    """Compute the features of the images at the indices, in all orientations.

    Args:
        model: on the device; only its head is trained. Left in evaluation.
        images_NHWC: uint8, (N, side, side, 3), on the device.
    Returns:
        None where they would take too much memory, or where head and dropout are not all that follows or draws.
    """
    model.eval()
    some = normalise(images_NHWC[indices[:TRIED]], normalisation)
    name = head_name(model)
    assert name is not None  # it is what is trained
    head = model.get_submodule(name)
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout) and module.p > 0]
    tail, tried = nn.Sequential(*dropouts[-1:], head), _inputs_of(head, model, some, device)
    if tried is None or not _computes_as(tail, tried, model, some, device):
        return None
    shape = (len(indices), N_ORIENTATIONS, tried.shape[1])
    if shape[0] * shape[1] * shape[2] * tried.element_size() > MOST_BYTES:
        return None
    values = torch.empty(shape, dtype=tried.dtype, device=device.device)
    for orientation in range(N_ORIENTATIONS):
        for first in range(0, len(indices), COMPUTED_AT_ONCE):
            part = slice(first, first + COMPUTED_AT_ONCE)
            images = in_orientation(images_NHWC[indices[part]], orientation)
            features = _inputs_of(head, model, normalise(images, normalisation), device)
            assert features is not None  # as those that were tried
            values[part, orientation] = features
    places = torch.zeros(len(images_NHWC), dtype=torch.int64, device=device.device)
    places[indices] = torch.arange(len(indices), device=device.device)
    return Features(tail=tail, values=values, places=places)


def _inputs_of(head: nn.Module, model: nn.Module, images_NCHW: Tensor, device: Device) -> Tensor | None:
    """What the head reads, (N, n_features); None if it is not one vector for each image."""
    read: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
    try:
        forward(model, images_NCHW, device)
    finally:
        hook.remove()
    return read[0] if len(read) == 1 and read[0].ndim == 2 and len(read[0]) == len(images_NCHW) else None


def _computes_as(tail: nn.Module, features: Tensor, model: nn.Module, images_NCHW: Tensor, device: Device) -> bool:
    """Whether, with equal draws, the tail makes of the features what the network makes of the images."""
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for module in dropouts:
        module.train()
    outputs = []
    for network, inputs in ((tail, features), (model, images_NCHW)):
        with torch.random.fork_rng(devices=[device.device] if device.device.type == "cuda" else []):
            torch.manual_seed(0)
            outputs.append(forward(network, inputs, device))
    for module in dropouts:
        module.eval()
    by_tail, by_network = outputs
    return by_tail.shape == by_network.shape and torch.allclose(by_tail, by_network, rtol=1e-3, atol=1e-3)
