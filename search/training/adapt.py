"""Adaptation of a trained network's batch norms to unlabelled images of another laboratory."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from search.training.batches import normalise
from search.training.device import Device
from search.training.step import forward
from search.training.types import Normalisation

BATCH = 256


@torch.no_grad()
def adapt_norms(model: nn.Module, images_NHWC: Tensor, normalisation: Normalisation, device: Device) -> nn.Module:
    """A copy of a network whose batch norms have the statistics of other images; nothing else changes.

    Args:
        images_NHWC: uint8, (N, side, side, 3), on the device, N at least 2.
        normalisation: of the network's input, as it was trained.
    Source: Y. Li et al., Revisiting batch normalization for practical domain adaptation, ICLR workshop (2017).
    """
    adapted = deepcopy(model).eval()
    for norm in _batch_norms(adapted):
        norm.reset_running_stats()
        norm.momentum = None  # the mean over batches, which all count alike
        norm.train()
    n_batches = -(-len(images_NHWC) // BATCH)
    for part in images_NHWC.tensor_split(n_batches):
        forward(adapted, normalise(part, normalisation), device)
    return adapted.eval()


def has_batch_norms(model: nn.Module) -> bool:
    """Whether a network has statistics that `adapt_norms` can adapt."""
    return bool(_batch_norms(model))


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
