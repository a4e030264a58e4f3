"""Networks of the family, frozen as they were when the benchmark was first written.

A baseline must not get faster with the project, so nothing of the project is imported here.
"""

import torch
from torch import Tensor, nn

KERNELS, CHANNELS, POOLED, FC1_UNITS = (5, 5, 3), (64, 256, 512), (True, True, False), 512


class FrozenNet(nn.Module):
    """Three stages with batch norm, FC1, dropout, FC2.

    Args:
        placement: stages that hold a residual block, such as "1+2", or "none".
    """

    def __init__(self, *, placement: str, side: int, width: float, n_classes: int, dropout: float) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        in_channels = 3
        for name, kernel, channels, pooled in zip("123", KERNELS, CHANNELS, POOLED, strict=True):
            out_channels = max(8, 8 * round(channels * width / 8))
            stage = _Residual if name in placement.split("+") else _Plain
            stages.append(stage(in_channels, out_channels, kernel))
            if pooled:
                stages.append(nn.MaxPool2d(2))
                side //= 2
            in_channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.fc1 = nn.Linear(in_channels * side**2, FC1_UNITS)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(FC1_UNITS, n_classes)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """(N, 3, side, side) -> logits (N, n_classes)."""
        return self.fc2(self.dropout(torch.relu(self.fc1(self.stages(images_NCHW).flatten(1)))))


class _Plain(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.unit = _unit(in_channels, out_channels, kernel)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return torch.relu(self.unit(x_NCHW))


class _Residual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.unit1 = _unit(in_channels, out_channels, kernel)
        self.unit2 = _unit(out_channels, out_channels, kernel)
        self.unit3 = _unit(out_channels, out_channels, kernel)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        first = torch.relu(self.unit1(x_NCHW))
        return torch.relu(self.unit3(torch.relu(self.unit2(first))) + first)


def _unit(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))
