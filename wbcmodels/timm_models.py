"""Configuration of a network of the package timm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcmodels.checks import check_weights_file, check_whole_number

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Timm:
    """A network by its name in timm, which `pip install wbc-search[timm]` brings.

    Attributes:
        name: as `timm.list_models` or `timm.list_pretrained` have it, such as "convnext_atto" or
            "resnet18.a1_in1k"; the part after the point chooses the pretrained weights.
        input_px: side of the square RGB input.
        pretrained: whether `initialise` loads timm's weights from the Hugging Face cache.
        weights: the path of a .safetensors or .pth file of the network's weights, instead of `pretrained`. The
            images are normalised as for `pretrained`.
    Raises:
        ValueError: a value that is not allowed; names the field and the value. Whether timm knows the name is
            checked later, by `build`, because timm takes seconds to import.
    """

    name: str
    input_px: int
    pretrained: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be the name of a network in timm, not {self.name!r}")
        check_whole_number("input_px", self.input_px, at_least=1)
        if not isinstance(self.pretrained, bool):
            raise ValueError(f"pretrained must be True or False, not {self.pretrained!r}")
        if self.weights is not None:
            check_weights_file("weights", self.weights)
            if self.pretrained:
                raise ValueError(f"weights must be None where pretrained is True, not {self.weights!r}")

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from weights, timm's or those of a file."""
        return self.pretrained or self.weights is not None

    @property
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
        """Mean and standard deviation of red, green and blue, 0 to 255, that pretrained weights expect.

        Raises:
            ValueError: timm is missing, or does not know the name.
        """
        from wbcmodels.timm_network import normalisation

        return normalisation(self.name) if self.is_pretrained else None

    def build(self, n_classes: int, seed: int) -> "nn.Module":
        """Build the network with random weights: images (N, 3, input_px, input_px) -> logits (N, n_classes).

        Args:
            n_classes: outputs of the last layer.
            seed: determines the weights.
        Raises:
            ValueError: timm is missing or does not know the name (shows similar ones), or the network has no
                linear layer at its end or cannot work with `input_px`.
        """
        from wbcmodels.building import seeded
        from wbcmodels.timm_network import TimmNetwork

        with seeded(seed):
            return TimmNetwork(self.name, self.input_px, n_classes)

    def initialise(self, network: "nn.Module") -> None:
        """Load the pretrained weights, if any, into all but the last layer of a network from `build`.

        Raises:
            ValueError: the file is missing (says what to download, and where to put it), is damaged or holds the
                weights of another network.
        """
        from wbcmodels.timm_network import load_pretrained

        if self.is_pretrained:
            load_pretrained(network, self.name, self.input_px, self.weights)
