"""What a configuration's `model` must offer, what it may offer, and how it is asked for it.

It is a network, or an estimator: a classifier of measured features that is fitted at once.

Only the functions that build or look into a network import torch.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

Triple = tuple[float, float, float]


class Size(NamedTuple):
    """The cost of a network, by the names of the tables' columns.

    Attributes:
        n_parameters: that can be trained.
        macs: multiply-accumulates of the convolutions and matrix products in one image's forward pass. Norms,
            activations and pooling are not counted, as in torch's counter and in the literature.
    """

    n_parameters: int
    macs: int


class NetworkConfig(Protocol):
    """A frozen dataclass that describes a network and builds it.

    Its fields must be hashable and, for `config.json`, of types that JSON has. It may also have any of:

        size(n_classes) -> Size         by formula; otherwise torch counts
        normalisation -> (mean, std)    of red, green and blue on the scale 0..255, as pretrained weights expect;
                                        otherwise, or if None, measured on the training images
        initialise(network) -> None     loads pretrained weights, all but the head's, before a training that starts
                                        from scratch

    And the module that it builds may have any of these attributes:

        head: str               name of the last linear layer, which a transfer replaces; otherwise found
        stages: tuple[str, ...] names of modules whose outputs (N, C, H, W) are shown as feature maps, in order
        channels_last: bool     the memory order that is fastest; True unless given
        large_linear: str       name of a linear layer that holds most weights and runs once in a forward pass
        cuda_graphs: bool       whether a training step can be recorded; False unless given
    """

    def __hash__(self) -> int:
        """Equal configurations build equal networks."""
        ...

    @property
    def input_px(self) -> int:
        """Side of the square RGB input."""
        ...

    def build(self, n_classes: int, seed: int) -> "nn.Module":
        """Build the network: normalised images (N, 3, input_px, input_px) -> logits (N, n_classes).

        Args:
            seed: determines the weights; torch's global generator is also seeded with it.
        """
        ...


@runtime_checkable
class EstimatorConfig(Protocol):
    """A frozen dataclass that describes a classifier of measured features, as scikit-learn has them.

    Its fields must be hashable and, for `config.json`, of types that JSON has.
    """

    def __hash__(self) -> int:
        """Equal configurations build equal classifiers."""
        ...

    @property
    def input_px(self) -> int:
        """Side of the square RGB input."""
        ...

    @property
    def measurement(self) -> Hashable:
        """What decides the features: configurations that agree in it measure the same."""
        ...

    def features(self, images_NHWC: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Measure images (N, input_px, input_px, 3): (N, n_features), all finite."""
        ...

    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        ...

    def estimator(self, seed: int) -> Any:
        """A new classifier with `fit`, `predict_proba` and `classes_`; seed and data determine what it learns."""
        ...

    def size(self, n_classes: int) -> Size:
        """Its cost, in the terms of networks."""
        ...

    def drawn(self, image_HWC: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """An image with what is measured in it drawn over it."""
        ...


Model = NetworkConfig | EstimatorConfig


def build_network(config: NetworkConfig, n_classes: int, seed: int) -> "nn.Module":
    """Build a network; torch's global generator is left as it was."""
    from wbcmodels.building import seeded

    with seeded(seed):
        return config.build(n_classes, seed)


def initialise(config: NetworkConfig, network: "nn.Module") -> None:
    """Load the pretrained weights of a configuration that has any.

    Raises:
        ValueError: they are missing or damaged; says what to do.
    """
    load = getattr(config, "initialise", None)
    if load is not None:
        load(network)


def expected_normalisation(config: NetworkConfig) -> tuple[Triple, Triple] | None:
    """Mean and standard deviation that pretrained weights expect, on the scale 0..255; None to measure them."""
    return getattr(config, "normalisation", None)


@lru_cache(maxsize=4096)
def model_size(config: Model, n_classes: int) -> Size:
    """The cost of a network, by its formula if it has one, else counted without computing anything."""
    by_formula: Callable[[int], Size] | None = getattr(config, "size", None)
    if by_formula is not None:
        return by_formula(n_classes)
    assert not isinstance(config, EstimatorConfig)  # which has a formula
    return _counted(config, n_classes)


def head_name(network: "nn.Module") -> str | None:
    """Name of the layer that gives the logits: as the network says, else its last linear layer, if it has one."""
    from torch import nn

    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    named: str | None = getattr(network, "head", None)
    return named if isinstance(named, str) else (linear[-1] if linear else None)


def _counted(config: NetworkConfig, n_classes: int) -> Size:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = _without_memory(config, n_classes).eval()
    images = torch.empty(1, 3, config.input_px, config.input_px, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    n_parameters = sum(value.numel() for value in network.parameters() if value.requires_grad)
    return Size(n_parameters=n_parameters, macs=counter.get_total_flops() // 2)


def _without_memory(config: NetworkConfig, n_classes: int) -> "nn.Module":
    """The network on torch's meta device, which has shapes and no values."""
    import torch

    try:
        with torch.device("meta"):
            return build_network(config, n_classes, seed=0)
    except Exception:  # such as a build that computes with its weights; one that cannot build at all raises again
        return build_network(config, n_classes, seed=0).to("meta")
