"""torchvision's networks with what `Classic` changes about them."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wbcmodels.building import he_initialise, optional_module
from wbcmodels.pretrained import check_digest, load_all_but_head, read_weights

# Adapted networks, all but vgg, halve the side once less often, and below TINY_PX twice less, so that the last map
# has at least 3x3 pixels.
TINY_PX = 40
SMALL_VGG_UNITS = 512
GOOGLENET_STAGES = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")
RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")


def build(
    name: str, n_classes: int, *, input_px: int, dropout: float, as_published: bool, pretrained: bool
) -> nn.Module:
    """Build the network with weights from torch's global generator, see `wbcmodels.classics.Classic`.

    It has the attributes `head`, the dotted name of the last linear layer, and `stages`, those of submodules whose
    outputs are maps (N, C, H, W).

    Args:
        as_published: nothing is adapted to small images.
        pretrained: the last map keeps the side that published weights expect.
    """
    if name == "alexnet":
        return _alexnet(n_classes, input_px, dropout, as_published=as_published, pretrained=pretrained)
    if name == "googlenet":
        return _googlenet(n_classes, input_px, dropout, as_published=as_published)
    if name.startswith("vgg"):
        return _vgg(name, n_classes, input_px, dropout, as_published=as_published, pretrained=pretrained)
    return _resnet(name, n_classes, input_px, dropout, as_published=as_published)


def load_pretrained(network: nn.Module, name: str, file: str | None) -> None:
    """Load weights from a file, or torchvision's from torch's cache, into all but the last layer."""
    path = _imagenet_file(name) if file is None else Path(file)
    state = read_weights(path)
    if name == "googlenet":
        state = {name: value for name, value in state.items() if not name.startswith(("aux1.", "aux2."))}
    load_all_but_head(network, state, path)


def _imagenet_file(name: str) -> Path:
    """The checked file of torchvision's weights in torch's cache."""
    weights = _torchvision_models().get_model_weights(name).IMAGENET1K_V1
    file_name = weights.url.rpartition("/")[2]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not (folder / file_name).is_file():
        raise ValueError(f"the pretrained weights of {name} are missing: download {weights.url} to {folder}")
    prefix = re.search(r"-([0-9a-f]+)\.", file_name)
    assert prefix is not None
    check_digest(folder / file_name, prefix[1])
    return folder / file_name


def _torchvision_models() -> Any:
    return optional_module("torchvision.models", "torchvision")


def _alexnet(n_classes: int, input_px: int, dropout: float, *, as_published: bool, pretrained: bool) -> nn.Module:
    with torch.device("meta"):
        network = _torchvision_models().alexnet(num_classes=n_classes, dropout=dropout)
        if not as_published:
            kernel, stride = (5, 1) if input_px < TINY_PX else (7, 2)
            network.features[0] = nn.Conv2d(3, 64, kernel, stride=stride, padding=kernel // 2)
        if not pretrained:
            side = min(6, _last_side(network.features, input_px))
            network.avgpool = nn.AdaptiveAvgPool2d(side)
            network.classifier[1] = nn.Linear(256 * side**2, 4096)
    network.head = "classifier.6"
    network.stages = tuple(_names(network.features, nn.ReLU))
    return _drawn(network)


def _vgg(
    name: str, n_classes: int, input_px: int, dropout: float, *, as_published: bool, pretrained: bool
) -> nn.Module:
    with torch.device("meta"):
        network = getattr(_torchvision_models(), name)(num_classes=n_classes, dropout=dropout)
        if not pretrained:
            side, units = (min(7, input_px // 32), 4096) if as_published else (1, SMALL_VGG_UNITS)
            network.avgpool = nn.AdaptiveAvgPool2d(side)
            network.classifier[0] = nn.Linear(512 * side**2, units)
            network.classifier[3] = nn.Linear(units, units)
            network.classifier[6] = nn.Linear(units, n_classes)
    network.head = "classifier.6"
    network.stages = tuple(_names(network.features, nn.MaxPool2d))
    return _drawn(network)


def _googlenet(n_classes: int, input_px: int, dropout: float, *, as_published: bool) -> nn.Module:
    network = _torchvision_models().googlenet(
        num_classes=n_classes, aux_logits=False, init_weights=True, dropout=dropout
    )
    network.head, network.stages = "fc", GOOGLENET_STAGES
    if not as_published:
        network.conv1.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.trunc_normal_(network.conv1.conv.weight, std=0.01)
        if input_px < TINY_PX:
            network.maxpool1 = nn.Identity()
    return network


def _resnet(name: str, n_classes: int, input_px: int, dropout: float, *, as_published: bool) -> nn.Module:
    network = getattr(_torchvision_models(), name)(num_classes=n_classes)
    network.head, network.stages = "fc", RESNET_STAGES
    network.avgpool = nn.Sequential(network.avgpool, nn.Dropout(dropout))
    if not as_published:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        if input_px < TINY_PX:
            network.maxpool = nn.Identity()
    return network


def _drawn(network: Any) -> nn.Module:
    """The network from the meta device, where building is free, with weights."""
    network.to_empty(device=torch.get_default_device())
    he_initialise(network, network.head)
    return network


def _names(features: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [f"features.{name}" for name, module in features.named_children() if isinstance(module, kind)]


def _last_side(features: nn.Module, side: int) -> int:
    """Side of the map that AlexNet's features make of an image."""
    for module in features.children():
        if isinstance(module, nn.Conv2d):
            side = (side + 2 * int(module.padding[0]) - module.kernel_size[0]) // module.stride[0] + 1
        elif isinstance(module, nn.MaxPool2d):
            side = (side - 3) // 2 + 1
    return side
