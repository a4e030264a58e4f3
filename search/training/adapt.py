"""Adaptation of a network's batch norms to the images of another laboratory, without labels.

Source: Y. Li et al., Revisiting batch normalization for practical domain adaptation, ICLR workshop (2017).
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from search.training.batches import normalise
from search.training.device import Device, in_double
from search.training.fit import EVALUATION_BATCH
from search.training.step import forward
from search.training.types import Normalisation


@torch.no_grad()
def adapt_norms(model: nn.Module, images_NHWC: Tensor, normalisation: Normalisation, device: Device) -> nn.Module:
    """A copy whose batch norms have the statistics of the given images; all else is as before.

    The norms are measured from first to last, each on outputs of those before it as they were measured, so that
    the result depends on no batches. A network without batch norms gives an equal copy.

    Args:
        model: on the device, as `search.training.fit.on_device` leaves it; not changed.
        images_NHWC: uint8, (N, side, side, 3), on the device: at least one, prepared as in training.
    Source of the measurement: mean and variance over all images and places, as in a single batch of all of them.
    """
    adapted = copy.deepcopy(model).eval()
    norms = [module for module in adapted.modules() if isinstance(module, _BatchNorm)]
    for norm in _in_order(adapted, norms, images_NHWC[:1], normalisation, device):
        _measure(adapted, norm, images_NHWC, normalisation, device)
    return adapted


def has_batch_norms(model: nn.Module) -> bool:
    """Whether a network has statistics that `adapt_norms` can adapt."""
    return any(isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules())


def _in_order(
    model: nn.Module, norms: list[_BatchNorm], images_NHWC: Tensor, normalisation: Normalisation, device: Device
) -> list[_BatchNorm]:
    """Those of the norms that the network uses, in the order in which it does."""
    used: list[_BatchNorm] = []
    hooks = [norm.register_forward_pre_hook(lambda module, _: used.append(module)) for norm in norms]
    forward(model, normalise(images_NHWC, normalisation), device)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(used))


def _measure(
    model: nn.Module, norm: _BatchNorm, images_NHWC: Tensor, normalisation: Normalisation, device: Device
) -> None:
    """Set a norm's statistics to those of what reaches it."""
    n, total, of_squares = 0, torch.zeros(()), torch.zeros(())

    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal n, total, of_squares
        channels = in_double(inputs[0]).transpose(0, 1).flatten(1)
        n += channels.shape[1]
        total = total.to(channels) + channels.sum(1)
        of_squares = of_squares.to(channels) + channels.square().sum(1)

    hook = norm.register_forward_pre_hook(add)
    for part in images_NHWC.split(EVALUATION_BATCH):
        forward(model, normalise(part, normalisation), device)
    hook.remove()
    assert norm.running_mean is not None  # a norm without statistics has nothing to adapt
    assert norm.running_var is not None
    mean = total / n
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((of_squares / n - mean.square()).clamp(min=0) * (n / max(1, n - 1)))
