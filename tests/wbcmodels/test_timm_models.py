import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from wbcmodels.timm_models import Timm

timm = pytest.importorskip("timm")

# A plain network, one with attributes `head` and `stages`, and one of tokens whose size depends on the image.
CONFIGS = (
    Timm(name="mobilenetv3_small_050", input_px=32),
    Timm(name="convnext_atto", input_px=64),
    Timm(name="vit_tiny_patch16_224", input_px=48),
)


def named(config):
    return config.name


def images(px, n_images=4):
    return torch.randn(n_images, 3, px, px, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_every_parameter_gets_a_gradient(config):
    network = config.build(4, seed=0)
    assert network.training
    torch.manual_seed(0)
    logits = network(images(config.input_px))
    assert logits.shape == (4, 4)
    nn.init.normal_(network.get_submodule(network.head).weight)  # some start at 0, and pass nothing back
    F.cross_entropy(network(images(config.input_px)), torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_weights_depend_on_the_seed_only(config):
    state = torch.get_rng_state()
    first = config.build(5, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again, other = config.build(5, seed=7).state_dict(), config.build(5, seed=8).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_head_and_stages_name_submodules(config):
    network = config.build(7, seed=0).eval()
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    assert network.get_submodule(network.head) is last
    assert last.out_features == 7
    shapes = []
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(lambda *passed: shapes.append(passed[2].shape))
    network(images(config.input_px))
    assert all(len(shape) == 4 for shape in shapes)
    sides = [shape[2] for shape in shapes]
    assert sides == sorted(sides, reverse=True)
    assert len(shapes) == {"mobilenetv3_small_050": 5, "convnext_atto": 4, "vit_tiny_patch16_224": 0}[config.name]


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_a_network_can_be_built_without_memory(config):
    with torch.device("meta"):
        network = config.build(5, seed=0)
        assert network(torch.empty(2, 3, config.input_px, config.input_px)).shape == (2, 5)
    assert network.stages == config.build(5, seed=0).stages


def test_maps_with_the_channels_last_are_no_stages():
    with torch.device("meta"):
        assert Timm(name="swin_tiny_patch4_window7_224", input_px=224).build(5, seed=0).stages == ()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_may_be_a_file(tmp_path, ending):
    path = tmp_path / f"weights.{ending}"
    # Positions of 224 px are resized to 48 px by timm.
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    (save_file if ending == "safetensors" else torch.save)(theirs.state_dict(), path)
    config = Timm(name="vit_tiny_patch16_224", input_px=48, weights=str(path))
    network = config.build(5, seed=0)
    head, state = network.network.head.weight.clone(), torch.get_rng_state()
    config.initialise(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network.network.head.weight, head)
    assert torch.equal(network.network.blocks[5].mlp.fc1.weight, theirs.blocks[5].mlp.fc1.weight)
    assert network.network.pos_embed.shape == (1, 10, 192)
    assert config.normalisation == ((127.5,) * 3, (127.5,) * 3)


def test_pretrained_weights_come_from_the_cache(tmp_path, monkeypatch):
    theirs = timm.create_model("mobilenetv3_small_050")
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def cached(repository, file_name, revision=None):
        asked.append((repository, file_name, revision))
        return str(tmp_path / "model.safetensors")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    config = Timm(name="mobilenetv3_small_050", input_px=32, pretrained=True)
    network = config.build(5, seed=0)
    config.initialise(network)
    assert asked == [("timm/mobilenetv3_small_050.lamb_in1k", "model.safetensors", None)]
    assert torch.equal(network.network.conv_head.weight, theirs.conv_head.weight)
    assert config.normalisation[0] == pytest.approx((123.675, 116.28, 103.53))


def test_missing_weights_say_what_to_download(monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    config = Timm(name="resnet18.a1_in1k", input_px=32, pretrained=True)
    network = config.build(5, seed=0)
    with pytest.raises(ValueError, match=r"hf download timm/resnet18.a1_in1k model.safetensors"):
        config.initialise(network)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    state = timm.create_model("mobilenetv3_small_050", num_classes=3).state_dict()
    config = Timm(name="mobilenetv3_small_050", input_px=32, weights=str(path))
    network = config.build(5, seed=0)
    del state["conv_head.weight"]
    for wrong in (state, {"conv_head.weight": torch.zeros(1)}):
        torch.save(wrong, path)
        with pytest.raises(ValueError, match=r"weights.pth is not of mobilenetv3_small_050"):
            config.initialise(network)


def test_random_weights_have_no_normalisation_and_stay():
    config = CONFIGS[0]
    network = config.build(5, seed=0)
    before = network.network.conv_head.weight.clone()
    config.initialise(network)
    assert torch.equal(network.network.conv_head.weight, before)
    assert config.normalisation is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "not 'resnet81'; similar are .*resnet18"),
        ("resnet18.bogus", "not 'resnet18.bogus'; similar are "),
        ("hf-hub:somebody/something", "not 'hf-hub:somebody/something'"),
        ("deit_tiny_distilled_patch16_224", "one linear layer at its end, not 'deit_tiny_distilled_patch16_224'"),
    ],
)
def test_names_that_are_not_allowed_are_named(name, message):
    with pytest.raises(ValueError, match=f"name must be .*{message}"), torch.device("meta"):
        Timm(name=name, input_px=224).build(5, seed=0)


@pytest.mark.parametrize(("name", "px"), [("twins_svt_small", 50), ("inception_v3", 32)])
def test_sides_that_do_not_fit_are_named(name, px):
    with pytest.raises(ValueError, match=f"input_px of {name} cannot be {px}"), torch.device("meta"):
        Timm(name=name, input_px=px).build(5, seed=0)


def test_a_missing_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"pip install wbc-search\[timm\]"):
        Timm(name="resnet18", input_px=32).build(5, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name must be .* ''"),
        ({"input_px": 0}, "input_px must be .*0"),
        ({"pretrained": "yes"}, "pretrained must be .*'yes'"),
        ({"weights": "weights.npz"}, "weights must be .*'weights.npz'"),
        ({"weights": "weights.pth", "pretrained": True}, "weights must be None where pretrained is True"),
    ],
)
def test_values_that_are_not_allowed_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Timm(**({"name": "resnet18", "input_px": 32} | changes))
