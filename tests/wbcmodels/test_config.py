import dataclasses
import math

import pytest

from wbcmodels.config import FULL_CHANNELS, KERNELS, PAPER_WBCSNET, PAPER_WBCSNET2, PLACEMENTS, ModelConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("placement", value) for value in ("", "0", "4", "2+1", "1+1", "1,2", "None")),
        ("norm", "layer"),
        ("shortcut", "conv"),
        ("residual_relu", "both"),
        *(("dropout", value) for value in (-0.1, 1.0, 1.5, math.nan)),
        *(("width", value) for value in (0.0, -1.0, math.inf, math.nan)),
        *(("input_px", value) for value in (3, 0, -70, 32.0)),
    ],
)
def test_a_wrong_value_is_refused_by_field_and_value(field, value):
    with pytest.raises(ValueError, match=field) as caught:
        ModelConfig(**{field: value})
    assert repr(value) in str(caught.value)


def test_a_refused_choice_lists_the_choices():
    with pytest.raises(ValueError, match="norm") as caught:
        ModelConfig(norm="layer")
    assert all(choice in str(caught.value) for choice in ("batch", "group", "instance", "none"))


def test_a_config_cannot_be_changed():
    config = ModelConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 2.0  # type: ignore[misc]
    assert {config: "as a key"}[ModelConfig()] == "as a key"


def test_placements_are_all_subsets_of_the_stages():
    subsets = {ModelConfig(placement=placement).residual_stages for placement in PLACEMENTS}
    assert len(PLACEMENTS) == len(subsets) == 8
    assert set().union(*subsets) == {1, 2, 3}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("input_px", [4, 25, 70])
def test_stages_form_a_chain_with_blocks_where_the_placement_says(placement, input_px):
    config = ModelConfig(placement=placement, input_px=input_px)
    assert ("+".join(map(str, config.residual_stages)) or "none") == placement
    channels, side = 3, input_px
    for number, (stage, kernel) in enumerate(zip(config.stages(), KERNELS, strict=True), start=1):
        assert (stage.in_channels, stage.in_px, stage.kernel) == (channels, side, kernel)
        assert stage.pooled == (number < 3)
        assert stage.out_px == (side // 2 if stage.pooled else side)
        assert stage.residual == (number in config.residual_stages)
        channels, side = stage.out_channels, stage.out_px
    assert side >= 1


@pytest.mark.parametrize("width", [0.01, 0.1, 0.125, 0.25, 0.3, 0.5, 0.77, 1.0, 1.5])
def test_width_multiplies_the_channels_in_steps_of_eight(width):
    for stage, full in zip(ModelConfig(width=width).stages(), FULL_CHANNELS, strict=True):
        assert stage.out_channels % 8 == 0
        assert stage.out_channels >= 8
        assert abs(stage.out_channels - full * width) <= 4 or stage.out_channels == 8


def test_the_papers_networks():
    stages = [(stage.kernel, stage.out_channels) for stage in PAPER_WBCSNET.stages()]
    assert stages == [(5, 64), (5, 256), (3, 512)]
    assert (PAPER_WBCSNET.residual_stages, PAPER_WBCSNET.norm, PAPER_WBCSNET.dropout) == ((), "none", 0)
    assert (PAPER_WBCSNET2.residual_stages, PAPER_WBCSNET2.norm) == ((1,), "batch")
    assert PAPER_WBCSNET2.dropout > 0
    assert PAPER_WBCSNET2.shortcut == "identity"
    for config in (PAPER_WBCSNET, PAPER_WBCSNET2):
        assert (config.width, config.input_px) == (1.0, 70)
