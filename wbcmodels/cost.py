"""Parameters and multiply-accumulate operations of a network of the family, by formula."""

from wbcmodels.config import FC1_UNITS, ModelConfig, StageGeometry
from wbcmodels.network import Size


def size(config: ModelConfig, n_classes: int) -> Size:
    """The cost of a network with n_classes outputs."""
    return Size(n_parameters=_n_parameters(config, n_classes), macs=_macs(config, n_classes))


def _n_parameters(config: ModelConfig, n_classes: int) -> int:
    """Trainable parameters: weights, biases, and the scales and shifts of the norms."""
    per_unit_channel = 1 if config.norm == "none" else 2  # a bias, or a norm's scale and shift
    total = 0
    for stage in config.geometry():
        for weights in _conv_weights(stage, config):
            total += weights + per_unit_channel * stage.out_channels
    return total + _fc1_weights(config) + FC1_UNITS + (FC1_UNITS + 1) * n_classes


def _macs(config: ModelConfig, n_classes: int) -> int:
    """Of the convolutions and linear layers in the forward pass of one image."""
    convolutions = sum(
        weights * stage.in_px**2 for stage in config.geometry() for weights in _conv_weights(stage, config)
    )
    return convolutions + _fc1_weights(config) + FC1_UNITS * n_classes


def _conv_weights(stage: StageGeometry, config: ModelConfig) -> list[int]:
    """Weights of each convolution of a stage."""
    first = stage.kernel**2 * stage.in_channels * stage.out_channels
    if not stage.residual:
        return [first]
    inner = stage.kernel**2 * stage.out_channels**2
    projection = [stage.in_channels * stage.out_channels] if config.shortcut == "projection" else []
    return [first, inner, inner, *projection]


def _fc1_weights(config: ModelConfig) -> int:
    last = config.geometry()[-1]
    return last.out_channels * last.out_px**2 * FC1_UNITS
