"""Feature maps and class activation of a trained network: images in, arrays out."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from search.training.batches import normalise
from search.training.trainedmodel import TrainedModel


def feature_maps(model: TrainedModel, images_NHWC: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
    """Compute the output of every stage that the network names.

    Args:
        images_NHWC: shape (n_images, input_px, input_px, 3), prepared.
    Returns:
        stage -> shape (n_images, n_channels, side_px, side_px).
    """
    network = model.build().eval()
    outputs: dict[str, NDArray[np.float32]] = {}
    for stage in stages(network):
        network.get_submodule(stage).register_forward_hook(
            lambda _module, _inputs, maps, stage=stage: outputs.update({stage: maps.numpy()})
        )
    with torch.no_grad():
        network(normalise(torch.from_numpy(images_NHWC), model.normalisation))
    return outputs


def stages(network: nn.Module) -> tuple[str, ...]:
    """Names of the modules whose outputs are feature maps; empty where the network names none."""
    return getattr(network, "stages", ())


def class_activation(model: TrainedModel, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute which places of the last stage speak for the predicted class, by Grad-CAM.

    Args:
        model: of a network that names its stages.
        images_NHWC: shape (n_images, input_px, input_px, 3), prepared.
    Returns:
        Shape (n_images, side_px, side_px) of the last stage, from 0 to 1 in each image; all 0 if nothing speaks
        for the class.
    Source: R. R. Selvaraju et al., Grad-CAM, ICCV (2017). The class activation maps of B. Zhou et al. (2016) are
    not defined here, because fully connected layers follow the last stage.
    """
    network = model.build().eval().requires_grad_(False)
    images_NCHW = normalise(torch.from_numpy(images_NHWC), model.normalisation)
    hooked: list[torch.Tensor] = []
    last_stage = network.get_submodule(stages(network)[-1])
    last_stage.register_forward_hook(lambda _module, _inputs, maps: hooked.append(maps.requires_grad_()))
    network(images_NCHW).max(dim=1).values.sum().backward()
    maps_NCHW, gradient = hooked[0], hooked[0].grad
    assert gradient is not None  # the logits depend on the maps
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    speaks_for = torch.relu((weights * maps_NCHW).sum(dim=1)).detach()
    most = speaks_for.amax(dim=(1, 2), keepdim=True)
    return torch.where(most > 0, speaks_for / most, speaks_for).numpy()
