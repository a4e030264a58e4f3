"""Parameters and multiply-accumulate operations of a network of the family, by formula."""

from collections.abc import Sequence

from wbcmodels.network import Size
from wbcmodels.stages import FC1_UNITS, Stage


def size(stages: Sequence[Stage], n_classes: int) -> Size:
    """The cost of a network of these stages with n_classes outputs."""
    return Size(n_parameters=_n_parameters(stages, n_classes), macs=_macs(stages, n_classes))


def _n_parameters(stages: Sequence[Stage], n_classes: int) -> int:
    """Trainable parameters: weights, biases, and the scales and shifts of the norms."""
    total = 0
    for stage in stages:
        per_channel = 1 if stage.norm == "none" else 2  # a bias, or a norm's scale and shift
        for weights in _conv_weights(stage):
            total += weights + per_channel * stage.out_channels
    return total + _fc1_weights(stages) + FC1_UNITS + (FC1_UNITS + 1) * n_classes


def _macs(stages: Sequence[Stage], n_classes: int) -> int:
    """Of the convolutions and linear layers in the forward pass of one image."""
    convolutions = sum(weights * stage.in_px**2 for stage in stages for weights in _conv_weights(stage))
    return convolutions + _fc1_weights(stages) + FC1_UNITS * n_classes


def _conv_weights(stage: Stage) -> list[int]:
    """Weights of each convolution of a stage."""
    first = stage.kernel**2 * stage.in_channels * stage.out_channels
    if not stage.residual:
        return [first]
    inner = stage.kernel**2 * stage.out_channels**2
    projection = [stage.in_channels * stage.out_channels] if stage.shortcut == "projection" else []
    return [first, inner, inner, *projection]


def _fc1_weights(stages: Sequence[Stage]) -> int:
    return stages[-1].n_outputs * FC1_UNITS
