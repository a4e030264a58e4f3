"""Configurations of the WBCsNet family, checked when they are created.

Source: Almotairi & Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from wbcmodels.checks import check_choice, check_probability, check_whole_number
from wbcmodels.network import Size

if TYPE_CHECKING:
    from wbcmodels.family import WBCsNet

Norm = Literal["batch", "group", "instance", "none"]
Shortcut = Literal["identity", "projection"]
ResidualRelu = Literal["after", "before"]

PLACEMENTS = ("none", "1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
STAGES = (1, 2, 3)
KERNELS = (5, 5, 3)
FULL_CHANNELS = (64, 256, 512)
POOLED = (True, True, False)
FC1_UNITS = 512
GROUP_NORM_GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One network of the family. All convolutions keep the side of their input; 2x2 max-pools halve it.

    Attributes:
        placement: stages with a residual block of three convolutions; one of PLACEMENTS.
        norm: the layer after every convolution. "group" and "instance" norms see one image at a time, so that an
            image is normalised in the same way whatever laboratory the others come from.
        dropout: probability after FC1, 0 <= dropout < 1.
        input_px: side of the square RGB input, at least 4.
        width: factor on the channels 64/256/512 of the stages, rounded to multiples of 8; FC1 keeps 512 units.
        shortcut: "identity" starts after the first convolution of the block, where the channels already
            match; "projection" is a 1x1 convolution of the stage's input.
        residual_relu: "after" the addition only (the standard block), or "before" it as well (the paper's text).
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    placement: str = "none"
    norm: Norm = "batch"
    dropout: float = 0.5
    input_px: int = 70
    width: float = 1.0
    shortcut: Shortcut = "identity"
    residual_relu: ResidualRelu = "after"

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("placement", self.placement, PLACEMENTS)
        check_choice("norm", self.norm, get_args(Norm))
        check_choice("shortcut", self.shortcut, get_args(Shortcut))
        check_choice("residual_relu", self.residual_relu, get_args(ResidualRelu))
        check_probability("dropout", self.dropout)
        if not (math.isfinite(self.width) and self.width > 0):
            raise ValueError(f"width must be above 0, not {self.width}")
        check_whole_number("input_px", self.input_px, at_least=2 ** sum(POOLED))

    def build(self, n_classes: int, seed: int) -> "WBCsNet":
        """Build the network, see `wbcmodels.family.build`."""
        from wbcmodels.family import build  # with torch

        return build(self, n_classes, seed)

    def size(self, n_classes: int) -> Size:
        """Parameters and multiply-accumulates, by formula."""
        from wbcmodels.cost import size  # which needs this module

        return size(self, n_classes)

    @property
    def residual_stages(self) -> tuple[int, ...]:
        """Stages with a residual block, ascending."""
        return () if self.placement == "none" else tuple(int(stage) for stage in self.placement.split("+"))

    def geometry(self) -> tuple["StageGeometry", ...]:
        """Sizes of the three stages, first to last."""
        stages: list[StageGeometry] = []
        in_channels, in_px = 3, self.input_px
        for stage, kernel, full_channels, pooled in zip(STAGES, KERNELS, FULL_CHANNELS, POOLED, strict=True):
            geometry = StageGeometry(
                in_channels=in_channels,
                out_channels=max(8, 8 * round(full_channels * self.width / 8)),
                kernel=kernel,
                residual=stage in self.residual_stages,
                pooled=pooled,
                in_px=in_px,
                out_px=in_px // 2 if pooled else in_px,
            )
            stages.append(geometry)
            in_channels, in_px = geometry.out_channels, geometry.out_px
        return tuple(stages)


@dataclass(frozen=True, kw_only=True)
class StageGeometry:
    """Sizes of one stage; `in_px` is the side of its input and convolutions, `out_px` the side after pooling."""

    in_channels: int
    out_channels: int
    kernel: int
    residual: bool
    pooled: bool
    in_px: int
    out_px: int


# The paper's two networks. The crops of its first data set have 70 x 70 px.
PAPER_WBCSNET = ModelConfig(placement="none", norm="none", dropout=0.0)
PAPER_WBCSNET2 = ModelConfig(placement="1", norm="batch", dropout=0.5)
