"""The stages of a network of the family: what each is made of, and its sizes."""

from dataclasses import dataclass
from typing import Literal

Norm = Literal["batch", "group", "instance", "none"]
Shortcut = Literal["identity", "projection"]
ResidualRelu = Literal["after", "before"]

FC1_UNITS = 512


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: a convolution or a residual block, and its max-pool, if any.

    Attributes:
        kernel: side of its convolutions, which keep the side of their input.
        in_px: side of its input and convolutions.
        out_px: side after pooling.
        norm, shortcut, residual_relu: see `wbcmodels.config.ModelConfig`; the latter two are of residual blocks.
    """

    in_channels: int
    out_channels: int
    kernel: int
    residual: bool
    pooled: bool
    in_px: int
    out_px: int
    norm: Norm
    shortcut: Shortcut
    residual_relu: ResidualRelu

    @property
    def n_outputs(self) -> int:
        """Values that it gives for an image."""
        return self.out_channels * self.out_px**2
