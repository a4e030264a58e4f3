"""Configurations of the WBCsNet family, checked when they are created.

Source: Almotairi & Shahin, "White Blood Cells Recognition System Based on Deep Residual Network".
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from wbcmodels.checks import check_choice, check_probability, check_whole_number
from wbcmodels.cost import size
from wbcmodels.network import Size
from wbcmodels.stages import Norm, ResidualRelu, Shortcut, Stage

if TYPE_CHECKING:
    from wbcmodels.family import WBCsNet

PLACEMENTS = ("none", "1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
STAGES = (1, 2, 3)
KERNELS = (5, 5, 3)
FULL_CHANNELS = (64, 256, 512)
POOLED = (True, True, False)


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
        """Build the network with random weights, see `wbcmodels.family.build`."""
        from wbcmodels.family import build  # with torch

        return build(self.stages(), self.dropout, n_classes, seed)

    def size(self, n_classes: int) -> Size:
        """Parameters and multiply-accumulates, by formula."""
        return size(self.stages(), n_classes)

    @property
    def residual_stages(self) -> tuple[int, ...]:
        """Stages with a residual block, ascending."""
        return () if self.placement == "none" else tuple(int(stage) for stage in self.placement.split("+"))

    def stages(self) -> tuple[Stage, ...]:
        """The three stages, first to last."""
        stages: list[Stage] = []
        in_channels, in_px = 3, self.input_px
        for number, kernel, full_channels, pooled in zip(STAGES, KERNELS, FULL_CHANNELS, POOLED, strict=True):
            stage = Stage(
                in_channels=in_channels,
                out_channels=max(8, 8 * round(full_channels * self.width / 8)),
                kernel=kernel,
                residual=number in self.residual_stages,
                pooled=pooled,
                in_px=in_px,
                out_px=in_px // 2 if pooled else in_px,
                norm=self.norm,
                shortcut=self.shortcut,
                residual_relu=self.residual_relu,
            )
            stages.append(stage)
            in_channels, in_px = stage.out_channels, stage.out_px
        return tuple(stages)


# The paper's two networks. The crops of its first data set have 70 x 70 px.
PAPER_WBCSNET = ModelConfig(placement="none", norm="none", dropout=0.0)
PAPER_WBCSNET2 = ModelConfig(placement="1", norm="batch", dropout=0.5)
