"""What a network costs, by formula: known for every placement before anything is trained."""

from dataclasses import replace

from wbcmodels.config import FC1_UNITS, ModelConfig, StageGeometry


def n_parameters(config: ModelConfig) -> int:
    """Trainable parameters, weights and biases and the scales and shifts of the norms."""
    per_unit_channel = 1 if config.norm == "none" else 2  # a bias, or a norm's scale and shift
    total = 0
    for stage in config.geometry():
        for weights in _conv_weights(stage, config):
            total += weights + per_unit_channel * stage.out_channels
    return total + _fc1_weights(config) + FC1_UNITS + (FC1_UNITS + 1) * config.n_classes


def macs(config: ModelConfig) -> int:
    """Multiply-accumulate operations of the convolutions and linear layers in one image's forward pass.

    Norms, ReLU and pooling are left out, as counters of torch and of the literature do.
    """
    convolutions = sum(
        weights * stage.conv_px**2 for stage in config.geometry() for weights in _conv_weights(stage, config)
    )
    return convolutions + _fc1_weights(config) + FC1_UNITS * config.n_classes


def model_size(model: ModelConfig, n_classes: int) -> dict[str, int]:
    """Columns on a network's cost."""
    model = replace(model, n_classes=n_classes)
    return {"n_parameters": n_parameters(model), "macs": macs(model)}


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
