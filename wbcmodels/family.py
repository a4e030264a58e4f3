"""The networks of the family as torch modules."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from wbcmodels.stages import FC1_UNITS, Norm, Stage

GROUP_NORM_GROUPS = 8


class ConvUnit(nn.Module):
    """Convolution and norm; the ReLU is left to the stage, because a block adds its shortcut first."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        # A norm has a shift of its own, so only a convolution without a norm needs a bias.
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=norm == "none")
        self.norm = _norm(norm, out_channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.norm(self.conv(x_NCHW))


class PlainStage(nn.Module):
    """One convolution and ReLU, then the stage's max-pool, if any."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.unit = ConvUnit(stage.in_channels, stage.out_channels, stage.kernel, stage.norm)
        self.pool = nn.MaxPool2d(2) if stage.pooled else nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, out_px, out_px)."""
        return _relu_pooled(self.unit(x_NCHW), self.pool)


class ResidualStage(nn.Module):
    """Three convolutions, a shortcut added to the last before the ReLU, then the stage's max-pool, if any."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        channels, kernel = stage.out_channels, stage.kernel
        self.unit1 = ConvUnit(stage.in_channels, channels, kernel, stage.norm)
        self.unit2 = ConvUnit(channels, channels, kernel, stage.norm)
        self.unit3 = ConvUnit(channels, channels, kernel, stage.norm)
        projected = stage.shortcut == "projection"
        self.projection = ConvUnit(stage.in_channels, channels, 1, stage.norm) if projected else None
        self.relu_before_addition = stage.residual_relu == "before"
        self.pool = nn.MaxPool2d(2) if stage.pooled else nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, out_px, out_px)."""
        first = torch.relu(self.unit1(x_NCHW))
        shortcut = first if self.projection is None else self.projection(x_NCHW)
        residual = self.unit3(torch.relu(self.unit2(first)))
        if self.relu_before_addition:
            residual = torch.relu(residual)
        return _relu_pooled(residual + shortcut, self.pool)


class WBCsNet(nn.Module):
    """Three stages (`stage1`, `stage2`, `stage3`), FC1, dropout, FC2.

    For the attributes, see `wbcmodels.network.NetworkConfig`.
    """

    head = "fc2"
    stages = ("stage1", "stage2", "stage3")
    large_linear = "fc1"
    cuda_graphs = True

    def __init__(self, stages: Sequence[Stage], dropout: float, n_classes: int) -> None:
        super().__init__()
        self.stage1, self.stage2, self.stage3 = (
            (ResidualStage if stage.residual else PlainStage)(stage) for stage in stages
        )
        self.fc1 = nn.Linear(stages[-1].n_outputs, FC1_UNITS)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(FC1_UNITS, n_classes)

    def features(self, images_NCHW: Tensor) -> Tensor:
        """Activations of FC1 before dropout, (N, 512)."""
        stage3_NHWC = self.stage3(self.stage2(self.stage1(images_NCHW))).permute(0, 2, 3, 1)
        # Pixel by pixel is the order of channels-last memory: nothing is copied, and the gradient comes back in
        # the same order.
        return torch.relu(self.fc1(stage3_NHWC.flatten(1)))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised images (N, 3, input_px, input_px) -> logits (N, n_classes)."""
        return self.fc2(self.dropout(self.features(images_NCHW)))


def build(stages: Sequence[Stage], dropout: float, n_classes: int, seed: int) -> WBCsNet:
    """Build a network with He initialisation.

    With torch's default initialisation, networks without batch norm hardly learn more than the majority class.

    Args:
        stages: its three stages.
        dropout: probability after FC1.
        seed: determines the weights; torch's global generator is neither read nor advanced.
    Source: He et al. 2015, "Delving Deep into Rectifiers", fan-in mode.
    """
    with torch.random.fork_rng(devices=[]):
        model = WBCsNet(stages, dropout, n_classes)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # No ReLU follows FC2, so its gain is 1.
            gain: Literal["linear", "relu"] = "linear" if module is model.fc2 else "relu"
            nn.init.kaiming_normal_(module.weight, nonlinearity=gain, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def _relu_pooled(x_NCHW: Tensor, pool: nn.Module) -> Tensor:
    # Pooling first leaves fewer values for the ReLU; the result is the same.
    return torch.relu(pool(x_NCHW))


def _norm(norm: Norm, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(GROUP_NORM_GROUPS, channels)
    if norm == "instance":
        return nn.GroupNorm(channels, channels)  # torch's own instance norm refuses a single pixel
    return nn.Identity()
