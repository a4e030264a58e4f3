"""What a network of the family looks like, checked when it is written down.

Source: Almotairi & Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Norm = Literal["batch", "group", "none"]
Shortcut = Literal["identity", "projection"]
ResidualRelu = Literal["after", "before"]
Padding = Literal["same", "valid"]

PLACEMENTS = ("none", "1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
STAGES = (1, 2, 3)
KERNELS = (5, 5, 3)
FULL_CHANNELS = (64, 256, 512)
POOLED = (True, True, False)
FC1_UNITS = 512
GROUP_NORM_GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One network of the family.

    Attributes:
        placement: stages that hold a residual block of three convolutions; see PLACEMENTS.
        norm: what follows every convolution.
        dropout: probability after FC1, 0 <= dropout < 1.
        input_px: side of the square RGB input.
        width: multiplies the channels 64/256/512 of the stages, rounded to multiples of 8; FC1 keeps 512.
        n_classes: outputs of FC2.
        shortcut: "identity" starts after the first convolution of the block, where the channels already
            match; "projection" is a 1x1 convolution from the input of the stage.
        residual_relu: "after" the addition only (the standard block), or "before" it as well (the paper's text).
        padding: of the stages without a residual block; inside one it is always "same", since the addition
            needs equal sizes.
    Raises:
        ValueError: a value outside what is listed here; names the field and the value.
    """

    placement: str = "none"
    norm: Norm = "batch"
    dropout: float = 0.5
    input_px: int = 70
    width: float = 1.0
    n_classes: int = 5
    shortcut: Shortcut = "identity"
    residual_relu: ResidualRelu = "after"
    padding: Padding = "same"

    def __post_init__(self) -> None:
        """Check every field."""
        _check_choice("placement", self.placement, PLACEMENTS)
        _check_choice("norm", self.norm, get_args(Norm))
        _check_choice("shortcut", self.shortcut, get_args(Shortcut))
        _check_choice("residual_relu", self.residual_relu, get_args(ResidualRelu))
        _check_choice("padding", self.padding, get_args(Padding))
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, but it is {self.dropout}")
        if not (math.isfinite(self.width) and self.width > 0):
            raise ValueError(f"width must be above 0, but it is {self.width}")
        for field in ("input_px", "n_classes"):
            if not isinstance(getattr(self, field), int):
                raise ValueError(f"{field} must be a whole number, but it is {getattr(self, field)}")
        if self.n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, but it is {self.n_classes}")
        if min(side for geometry in self.geometry() for side in (geometry.conv_px, geometry.out_px)) < 1:
            raise ValueError(f"input_px={self.input_px} is too small for padding={self.padding!r}")

    @property
    def residual_stages(self) -> tuple[int, ...]:
        """Stages that hold a residual block, ascending."""
        return () if self.placement == "none" else tuple(int(stage) for stage in self.placement.split("+"))

    def geometry(self) -> tuple["StageGeometry", ...]:
        """Sizes of the three stages, first to last."""
        stages: list[StageGeometry] = []
        in_channels, in_px = 3, self.input_px
        for stage, kernel, full_channels, pooled in zip(STAGES, KERNELS, FULL_CHANNELS, POOLED, strict=True):
            residual = stage in self.residual_stages
            same = residual or self.padding == "same"
            conv_px = in_px if same else in_px - kernel + 1
            geometry = StageGeometry(
                in_channels=in_channels,
                out_channels=max(8, 8 * round(full_channels * self.width / 8)),
                kernel=kernel,
                residual=residual,
                same=same,
                pooled=pooled,
                conv_px=conv_px,
                out_px=conv_px // 2 if pooled else conv_px,
            )
            stages.append(geometry)
            in_channels, in_px = geometry.out_channels, geometry.out_px
        return tuple(stages)


@dataclass(frozen=True, kw_only=True)
class StageGeometry:
    """Sizes of one stage; `conv_px` is the side after its convolutions, `out_px` the side after pooling."""

    in_channels: int
    out_channels: int
    kernel: int
    residual: bool
    same: bool
    pooled: bool
    conv_px: int
    out_px: int


def _check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, but it is {value!r}")


# The paper's two networks. Its first data set has crops of 70 x 70 px.
PAPER_WBCSNET = ModelConfig(placement="none", norm="none", dropout=0.0)
PAPER_WBCSNET2 = ModelConfig(placement="1", norm="batch", dropout=0.5)
