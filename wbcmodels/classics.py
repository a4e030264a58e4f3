"""Configuration of well-known networks, as published or adapted to small images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcmodels.checks import check_choice, check_probability, check_weights_file, check_whole_number

if TYPE_CHECKING:
    from torch import nn

NETWORKS = (
    *("alexnet", "vgg16", "vgg19", "vgg16_bn", "vgg19_bn"),
    *("googlenet", "resnet18", "resnet50", "resnet101"),
)
PUBLISHED_DROPOUT = {name: 0.5 for name in NETWORKS[:5]} | {"googlenet": 0.2}

# From SMALL_PX on, random networks are as published for 224 px; below, they are adapted.
SMALL_PX = 112
LEAST_PX = 32
LEAST_PX_PUBLISHED = {"alexnet": 63}

IMAGENET = "imagenet"
IMAGENET_MEAN_STD = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
GOOGLENET_MEAN_STD = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


@dataclass(frozen=True, kw_only=True)
class Classic:
    """A network from torchvision: unchanged with pretrained weights, adapted to small images without.

    Below 112 px without pretrained weights, this changes:

    alexnet: The first convolution is 7x7 with stride 2 (Zeiler & Fergus 2014, "Visualizing and Understanding
        Convolutional Networks"); below 40 px it is 5x5 with stride 1, as in Krizhevsky's networks for CIFAR-10.
        torchvision's network is the one of Krizhevsky 2014, "One weird trick for parallelizing convolutional
        neural networks".
    vgg16, vgg19, vgg16_bn, vgg19_bn: The last map is averaged to 1x1, and the two hidden linear layers have 512
        units instead of 4096, as is usual for CIFAR (Liu & Deng 2015, "Very deep convolutional neural network
        based image classification using small training sample size"). Simonyan & Zisserman 2014 publish them
        without batch norm; `_bn` has one after each convolution, and is the one to train from random weights.
    googlenet: The first convolution and max-pool, as in resnet. At any side there are no auxiliary classifiers.
        torchvision's network has batch norm, and 3x3 convolutions where Szegedy et al. 2014 have 5x5.
    resnet18, resnet50, resnet101: The first convolution is 3x3 with stride 1, as for CIFAR in He et al. 2015,
        "Deep Residual Learning for Image Recognition". Below 40 px the max-pool after it is left out as well, as
        in Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", B.9.
        torchvision's resnet50 and resnet101 halve the side in 3x3 convolutions, the published ones in 1x1.

    At any side without pretrained weights, alexnet and vgg do not enlarge a last map that is smaller than
    published. Their random weights follow He et al. 2015, "Delving Deep into Rectifiers"; those of googlenet and
    resnet follow torchvision.

    Attributes:
        name: one of NETWORKS.
        input_px: side of the square RGB input, at least 32; at least 63 for a pretrained alexnet.
        dropout: probability before the linear layers, 0 <= dropout < 1. None: torchvision's, which is 0.5 for
            alexnet and vgg, 0.2 for googlenet and 0 for resnet.
        weights: None, random; "imagenet", torchvision's IMAGENET1K_V1 from torch's cache; or the path of a
            .safetensors or .pth file of such weights.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    name: str
    input_px: int
    dropout: float | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("name", self.name, NETWORKS)
        least_px = LEAST_PX if self.weights is None else LEAST_PX_PUBLISHED.get(self.name, LEAST_PX)
        check_whole_number("input_px", self.input_px, at_least=least_px)
        if self.dropout is not None:
            check_probability("dropout", self.dropout)
        if self.weights not in (None, IMAGENET):
            check_weights_file(f'weights that are not "{IMAGENET}"', self.weights)

    @property
    def as_published(self) -> bool:
        """Whether nothing is adapted to small images."""
        return self.weights is not None or self.input_px >= SMALL_PX

    @property
    def dropout_used(self) -> float:
        """The probability that `dropout` stands for."""
        return PUBLISHED_DROPOUT.get(self.name, 0.0) if self.dropout is None else self.dropout

    @property
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
        """Mean and standard deviation of red, green and blue, 0 to 255, that pretrained weights expect."""
        if self.weights is None:
            return None
        return GOOGLENET_MEAN_STD if self.name == "googlenet" else IMAGENET_MEAN_STD

    def build(self, n_classes: int, seed: int) -> "nn.Module":
        """Build the network with random weights: images (N, 3, input_px, input_px) -> logits (N, n_classes).

        Args:
            n_classes: outputs of the last layer.
            seed: determines the weights.
        Raises:
            ValueError: torchvision is missing.
        """
        from wbcmodels.building import seeded
        from wbcmodels.classic_networks import build

        with seeded(seed):
            return build(
                self.name,
                n_classes,
                input_px=self.input_px,
                dropout=self.dropout_used,
                as_published=self.as_published,
                pretrained=self.weights is not None,
            )

    def initialise(self, network: "nn.Module") -> None:
        """Load the pretrained weights, if any, into all but the last layer of a network from `build`.

        Raises:
            ValueError: the file is missing (says what to download, and where to put it), is damaged or holds the
                weights of another network.
        """
        from wbcmodels.classic_networks import load_pretrained

        if self.weights is not None:
            load_pretrained(network, self.name, None if self.weights == IMAGENET else self.weights)
