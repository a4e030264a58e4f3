import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from wbcmodels.config import PAPER_WBCSNET, PAPER_WBCSNET2, PLACEMENTS, ModelConfig
from wbcmodels.family import WBCsNet
from wbcmodels.network import model_size


def n_parameters(config):
    return model_size(config, n_classes=5).n_parameters


def macs(config):
    return model_size(config, n_classes=5).macs


def measured(config, device, n_classes):
    with torch.device(device):
        model = WBCsNet(config.stages(), config.dropout, n_classes).eval()
        image = torch.zeros(1, 3, config.input_px, config.input_px)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    n_flops = counter.get_total_flops()
    assert n_flops % 2 == 0
    return sum(parameter.numel() for parameter in model.parameters()), n_flops // 2


# The meta device runs the real modules on shapes only, so the paper's widths cost nothing here.
@pytest.mark.parametrize("shortcut", ["identity", "projection"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_formulas_equal_what_torch_counts(placement, norm, shortcut):
    for width, (input_px, n_classes) in zip((0.3, 1.0), ((31, 2), (70, 5)), strict=True):
        config = ModelConfig(
            placement=placement,
            norm=norm,
            shortcut=shortcut,
            width=width,
            input_px=input_px,
        )
        assert model_size(config, n_classes) == measured(config, "meta", n_classes)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_formulas_equal_a_real_forward_pass(placement):
    config = ModelConfig(placement=placement, width=0.125, input_px=13)
    assert model_size(config, 5) == measured(config, "cpu", 5)
    assert n_parameters(config) == sum(parameter.numel() for parameter in config.build(5, seed=0).parameters())


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_blocks_cost_the_same_wherever_else_there_are_blocks(norm, shortcut):
    def cost(*stages):
        placement = "+".join(map(str, stages)) or "none"
        config = ModelConfig(placement=placement, norm=norm, shortcut=shortcut)
        return torch.tensor([n_parameters(config), macs(config)])

    alone = {stage: cost(stage) - cost() for stage in (1, 2, 3)}
    assert all((extra > 0).all() for extra in alone.values())
    for stages in itertools.chain(itertools.combinations((1, 2, 3), 2), [(1, 2, 3)]):
        assert torch.equal(cost(*stages), cost() + sum(alone[stage] for stage in stages))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_has_no_multiplication_costs_nothing(placement):
    plain = ModelConfig(placement=placement, norm="none", dropout=0.0)
    changed = ModelConfig(placement=placement, norm="batch", dropout=0.5, residual_relu="before")
    assert macs(changed) == macs(plain)


def test_the_block_at_the_first_stage_has_the_fewest_parameters():
    # The paper's reason for placing it there.
    sizes = {placement: n_parameters(ModelConfig(placement=placement)) for placement in ("1", "2", "3")}
    assert min(sizes, key=sizes.__getitem__) == "1"


def test_the_papers_networks():
    assert n_parameters(PAPER_WBCSNET) == (
        (75 * 64 + 64) + (1600 * 256 + 256) + (2304 * 512 + 512) + (512 * 17**2 * 512 + 512) + (512 * 5 + 5)
    )
    # Two more convolutions; every convolution has a scale and a shift instead of a bias.
    extra = 2 * 1600 * 64 + (3 * 64 + 256 + 512) * 2 - (64 + 256 + 512)
    assert n_parameters(PAPER_WBCSNET2) == n_parameters(PAPER_WBCSNET) + extra
    assert macs(PAPER_WBCSNET2) == macs(PAPER_WBCSNET) + 2 * 1600 * 64 * 70**2
