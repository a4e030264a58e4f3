"""Configuration of LeNet-5.

Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-Based Learning Applied to Document Recognition".
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcmodels.checks import check_whole_number

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class LeNet5:
    """LeNet-5 as published, except for its last layer: a linear layer replaces the radial basis functions.

    Attributes:
        colour: False makes the image grey, as published; True gives C1 three input channels.
        input_px: side of the square RGB input, published 32; a multiple of 4, at least 16, so that subsampling
            halves every map. C5 covers the whole map that remains (5x5 at 32 px).
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    colour: bool = False
    input_px: int = 32

    def __post_init__(self) -> None:
        """Check every field."""
        if not isinstance(self.colour, bool):
            raise ValueError(f"colour must be True or False, not {self.colour!r}")
        check_whole_number("input_px", self.input_px, at_least=16)
        if self.input_px % 4:
            raise ValueError(f"input_px must be a multiple of 4, not {self.input_px}")

    def build(self, n_classes: int, seed: int) -> "nn.Module":
        """Build the network: normalised images (N, 3, input_px, input_px) -> logits (N, n_classes).

        Args:
            n_classes: outputs of the last layer.
            seed: determines the weights.
        """
        from wbcmodels.building import seeded
        from wbcmodels.lenet_network import LeNet5Network

        with seeded(seed):
            return LeNet5Network(n_classes, colour=self.colour, input_px=self.input_px)
