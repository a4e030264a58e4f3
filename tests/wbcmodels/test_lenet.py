import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from wbcmodels.lenet import LeNet5
from wbcmodels.lenet_network import C3_INPUTS, TableConvolution

# C1, S2, C3, S4, C5 and F6 in LeCun et al. 1998; the last layer of ten classes is ours.
PUBLISHED_PARAMETERS = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}


def images(px, n_images=3):
    return torch.randn(n_images, 3, px, px, generator=torch.Generator().manual_seed(0))


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_layers_have_the_published_parameters():
    network = LeNet5().build(10, seed=0)
    assert {name: n_parameters(getattr(network, name)) for name in PUBLISHED_PARAMETERS} == PUBLISHED_PARAMETERS
    assert n_parameters(network) == sum(PUBLISHED_PARAMETERS.values()) + 850


def test_each_map_of_c3_sees_its_maps_of_s2_only():
    layer = TableConvolution(6, C3_INPUTS)
    assert [len(seen) for seen in C3_INPUTS] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_INPUTS)) == 16
    for source in range(6):
        maps = torch.zeros(1, 6, 5, 5)
        maps[0, source] = images(5)[0, 0]
        touched = layer(maps).flatten().nonzero().flatten().tolist()
        assert touched == [output for output, seen in enumerate(C3_INPUTS) if source in seen]


def test_subsampling_adds_multiplies_and_shifts():
    network = LeNet5().build(5, seed=0)
    layer = network.s2[0]
    with torch.no_grad():
        layer.coefficient.normal_()
        layer.bias.normal_()
    maps = torch.randn(2, 6, 4, 4)
    squares = maps[:, :, 0::2, 0::2] + maps[:, :, 1::2, 0::2] + maps[:, :, 0::2, 1::2] + maps[:, :, 1::2, 1::2]
    wanted = 1.7159 * torch.tanh((squares * layer.coefficient + layer.bias) * 2 / 3)
    assert torch.allclose(network.s2(maps), wanted, atol=1e-6)


def test_a_grey_network_sees_luminance_only():
    network = LeNet5().build(5, seed=0)
    colours = images(32)
    luminance = (colours * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    assert torch.allclose(network(colours), network(luminance.expand(-1, 3, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("px", [16, 32, 64, 224])
def test_every_parameter_gets_a_gradient(px, colour):
    network = LeNet5(colour=colour, input_px=px).build(4, seed=0)
    logits = network(images(px))
    assert logits.shape == (3, 4)
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_weights_depend_on_the_seed_only():
    state = torch.get_rng_state()
    first = LeNet5().build(5, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again, other = LeNet5().build(5, seed=7).state_dict(), LeNet5().build(5, seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.endswith("weight")]
    assert len(drawn) == 5
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_layers_keep_the_variance_of_white_noise():
    network = LeNet5(colour=True).build(5, seed=0)
    for name in ("c1", "c3", "c5", "f6"):
        layer = getattr(network, name)[0]
        shape = {"c1": (500, 3, 5, 5), "c3": (500, 6, 5, 5), "c5": (500, 16, 5, 5), "f6": (500, 120)}[name]
        assert 0.7 < layer(torch.randn(shape)).std() < 1.3


def test_head_and_stages_name_submodules():
    network = LeNet5().build(5, seed=0)
    assert network.get_submodule(network.head).out_features == 5
    sides = []
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(lambda *passed: sides.append(passed[2].shape[1:]))
    network(images(32))
    assert sides == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)]


def test_a_network_can_be_built_without_memory():
    with torch.device("meta"):
        network = LeNet5().build(5, seed=0)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("field", "value"), [("input_px", 12), ("input_px", 34), ("input_px", 32.0), ("colour", "yes")]
)
def test_values_that_are_not_allowed_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*{value}"):
        LeNet5(**{field: value})


def test_configurations_do_not_import_torch():
    imported = "wbcmodels.lenet, wbcmodels.classics, wbcmodels.efficientnet_lite, wbcmodels.timm_models"
    code = (
        f"import sys, {imported}; sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
