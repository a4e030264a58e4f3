import dataclasses
import math

import pytest

from wbcmodels.config import (
    FULL_CHANNELS,
    KERNELS,
    PAPER_WBCSNET,
    PAPER_WBCSNET2,
    PLACEMENTS,
    ModelConfig,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("placement", value) for value in ("", "0", "4", "2+1", "1+1", "1,2", "None")),
        ("norm", "layer"),
        ("shortcut", "conv"),
        ("residual_relu", "both"),
        ("padding", "full"),
        *(("dropout", value) for value in (-0.1, 1.0, 1.5, math.nan)),
        *(("width", value) for value in (0.0, -1.0, math.inf, math.nan)),
        *(("n_classes", value) for value in (1, 0, -3)),
        *(("input_px", value) for value in (3, 0, -70)),
    ],
)
def test_a_wrong_value_is_refused_by_field_and_value(field, value):
    with pytest.raises(ValueError, match=field) as caught:
        ModelConfig(**{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("placement", PLACEMENTS),
        ("norm", ("batch", "group", "none")),
        ("shortcut", ("identity", "projection")),
        ("residual_relu", ("after", "before")),
        ("padding", ("same", "valid")),
    ],
)
def test_a_refused_choice_lists_the_choices(field, choices):
    for choice in choices:
        assert getattr(ModelConfig(**{field: choice}), field) == choice
    with pytest.raises(ValueError, match="must be one of") as caught:
        ModelConfig(**{field: "?"})
    for choice in choices:
        assert choice in str(caught.value)


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
def test_placement_and_residual_stages_say_the_same(placement):
    config = ModelConfig(placement=placement)
    stages = config.residual_stages
    assert list(stages) == sorted(set(stages))
    assert ("+".join(map(str, stages)) or "none") == placement
    assert tuple(n for n, stage in enumerate(config.geometry(), 1) if stage.residual) == stages


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("input_px", [24, 25, 27, 31, 70])
def test_geometry_is_a_chain(placement, padding, input_px):
    config = ModelConfig(placement=placement, padding=padding, input_px=input_px)
    channels, side = 3, input_px
    stages = config.geometry()
    assert len(stages) == 3
    for stage, kernel in zip(stages, KERNELS, strict=True):
        assert stage.in_channels == channels
        assert stage.kernel == kernel
        assert stage.same == (padding == "same" or stage.residual)
        assert stage.conv_px == (side if stage.same else side - kernel + 1)
        assert stage.out_px == (stage.conv_px // 2 if stage.pooled else stage.conv_px)
        channels, side = stage.out_channels, stage.out_px
    assert [stage.pooled for stage in stages] == [True, True, False]


@pytest.mark.parametrize(
    ("placement", "padding", "input_px", "sides"),
    [
        ("none", "same", 70, [(70, 35), (35, 17), (17, 17)]),
        ("1+2+3", "same", 13, [(13, 6), (6, 3), (3, 3)]),
        ("none", "valid", 70, [(66, 33), (29, 14), (12, 12)]),
        ("1", "valid", 70, [(70, 35), (31, 15), (13, 13)]),
        ("2+3", "valid", 71, [(67, 33), (33, 16), (16, 16)]),
        ("1+2+3", "valid", 71, [(71, 35), (35, 17), (17, 17)]),
    ],
)
def test_sides_worked_out_by_hand(placement, padding, input_px, sides):
    config = ModelConfig(placement=placement, padding=padding, input_px=input_px)
    assert [(stage.conv_px, stage.out_px) for stage in config.geometry()] == sides


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_inputs_are_refused_up_to_one_side_and_none_above(placement, padding):
    accepted = []
    for input_px in range(1, 40):
        try:
            stages = ModelConfig(placement=placement, padding=padding, input_px=input_px).geometry()
        except ValueError:
            continue
        assert min(min(stage.conv_px, stage.out_px) for stage in stages) >= 1
        accepted.append(input_px)
    assert accepted == list(range(accepted[0], 40))
    with pytest.raises(ValueError, match=f"input_px={accepted[0] - 1} .* padding='{padding}'"):
        ModelConfig(placement=placement, padding=padding, input_px=accepted[0] - 1)
    if padding == "same" or placement == "1+2+3":
        assert accepted[0] == 4
    if (placement, padding) == ("none", "valid"):
        assert accepted[0] == 24


@pytest.mark.parametrize("width", [0.01, 0.1, 0.125, 0.25, 0.3, 0.5, 0.77, 1.0, 1.5])
def test_width_multiplies_the_channels_in_steps_of_eight(width):
    for stage, full in zip(ModelConfig(width=width).geometry(), FULL_CHANNELS, strict=True):
        assert stage.out_channels % 8 == 0
        assert stage.out_channels >= 8
        assert abs(stage.out_channels - full * width) <= 4 or stage.out_channels == 8


def test_the_papers_channels_and_kernels():
    assert [(stage.kernel, stage.out_channels) for stage in ModelConfig().geometry()] == [
        (5, 64),
        (5, 256),
        (3, 512),
    ]


def test_the_papers_plain_network():
    assert PAPER_WBCSNET.residual_stages == ()
    assert PAPER_WBCSNET.norm == "none"
    assert PAPER_WBCSNET.dropout == 0


def test_the_papers_residual_network():
    assert PAPER_WBCSNET2.residual_stages == (1,)
    assert PAPER_WBCSNET2.norm == "batch"
    assert PAPER_WBCSNET2.dropout > 0
    assert PAPER_WBCSNET2.shortcut == "identity"


@pytest.mark.parametrize("config", [PAPER_WBCSNET, PAPER_WBCSNET2])
def test_the_papers_networks_have_its_size(config):
    assert (config.width, config.input_px, config.n_classes) == (1.0, 70, 5)
