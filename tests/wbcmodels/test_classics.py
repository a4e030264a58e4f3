import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision import models

from wbcmodels.classics import GOOGLENET_MEAN_STD, IMAGENET_MEAN_STD, NETWORKS, Classic
from wbcmodels.pretrained import check_digest, load_all_but_head, read_weights

# One of each kind, for what takes long with all.
KINDS = ("alexnet", "vgg16_bn", "googlenet", "resnet18")
PUBLISHED_PARAMETERS = {
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "googlenet": 6_624_904,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
}


def on_meta(config, n_classes=5):
    with torch.device("meta"):
        return config.build(n_classes, seed=0)


def images(px, n_images=4):
    return torch.randn(n_images, 3, px, px, generator=torch.Generator().manual_seed(0))


def published(name, n_classes=1000):
    """torchvision's own network, with weights from torch's global generator."""
    options = {"init_weights": True, "aux_logits": True} if name == "googlenet" else {}
    return models.get_model(name, num_classes=n_classes, **options)


@pytest.mark.parametrize("px", [32, 39, 40, 64, 96, 111, 112, 224])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_side_gives_logits_and_maps(name, px):
    network = on_meta(Classic(name=name, input_px=px))
    shapes = []
    for stage in network.stages:
        network.get_submodule(stage).register_forward_hook(lambda *passed: shapes.append(passed[2].shape))
    assert network.train()(torch.empty(2, 3, px, px, device="meta")).shape == (2, 5)
    assert 0 < len(shapes) <= 5
    assert all(len(shape) == 4 and shape[2] == shape[3] for shape in shapes)
    sides = [shape[2] for shape in shapes]
    assert sides == sorted(sides, reverse=True)
    least = 1 if name.startswith("vgg") else 2 if (name, px) == ("alexnet", 112) else 3
    assert sides[-1] >= least


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_is_the_last_linear_layer(name):
    network = on_meta(Classic(name=name, input_px=32), 7)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    assert network.get_submodule(network.head) is last
    assert last.out_features == 7


@pytest.mark.parametrize("name", NETWORKS)
def test_with_pretrained_weights_the_network_is_torchvisions(name):
    network = on_meta(Classic(name=name, input_px=64, weights="imagenet"), 1000)
    with torch.device("meta"):
        theirs = published(name)
    shapes = {key: value.shape for key, value in theirs.state_dict().items() if not key.startswith("aux")}
    assert {key: value.shape for key, value in network.state_dict().items()} == shapes
    assert sum(value.numel() for value in network.parameters()) == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_gets_a_gradient(name):
    network = Classic(name=name, input_px=32).build(4, seed=0)
    torch.manual_seed(0)
    F.cross_entropy(network(images(32)), torch.tensor([0, 1, 2, 3])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", KINDS)
def test_weights_depend_on_the_seed_only(name):
    config = Classic(name=name, input_px=32)
    state = torch.get_rng_state()
    first = config.build(5, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again, other = config.build(5, seed=7).state_dict(), config.build(5, seed=8).state_dict()
    for key, value in first.items():
        assert torch.equal(value, again[key]), key
        if value.ndim > 1:
            assert not torch.equal(value, other[key]), key


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_signals_survive_many_layers_without_batch_norm(name):
    network = Classic(name=name, input_px=32).build(5, seed=0).eval()
    assert 0.05 < network(images(32)).std() < 5


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_is_applied(name):
    probabilities = {
        module.p
        for module in on_meta(Classic(name=name, input_px=32, dropout=0.3)).modules()
        if isinstance(module, nn.Dropout)
    }
    assert probabilities == {0.3}


def test_googlenet_expects_what_torchvision_turns_its_input_into():
    pixels = torch.rand(2, 3, 64, 64) * 255

    def normalised(mean_std):
        mean, std = (torch.tensor(values)[:, None, None] for values in mean_std)
        return (pixels - mean) / std

    theirs = models.GoogLeNet(init_weights=False, aux_logits=False, transform_input=True)
    wanted = theirs._transform_input(normalised(IMAGENET_MEAN_STD))
    assert torch.allclose(normalised(GOOGLENET_MEAN_STD), wanted, atol=1e-5)
    config = Classic(name="googlenet", input_px=64, weights="imagenet")
    assert config.normalisation == GOOGLENET_MEAN_STD
    assert not config.build(5, seed=0).transform_input


@pytest.mark.parametrize("name", NETWORKS)
def test_normalisation_is_that_of_the_weights(name):
    transforms = models.get_model_weights(name).IMAGENET1K_V1.transforms()
    assert IMAGENET_MEAN_STD[0] == pytest.approx([255 * value for value in transforms.mean])
    assert IMAGENET_MEAN_STD[1] == pytest.approx([255 * value for value in transforms.std])
    assert Classic(name=name, input_px=64).normalisation is None


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's folder of downloaded files."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def imagenet_file(monkeypatch, cache, name, state):
    """Put weights where torchvision's belong, under a name that has their digest."""
    torch.save(state, cache / "saved")
    digest = hashlib.sha256((cache / "saved").read_bytes()).hexdigest()[:8]
    weights = models.get_model_weights(name).IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", f"https://download.pytorch.org/models/{name}-{digest}.pth")
    return (cache / "saved").rename(cache / f"{name}-{digest}.pth")


@pytest.mark.parametrize("name", ["googlenet", "resnet18"])
def test_imagenet_weights_come_from_torchs_cache(monkeypatch, cache, name):
    theirs = published(name)
    imagenet_file(monkeypatch, cache, name, theirs.state_dict())
    config = Classic(name=name, input_px=64, weights="imagenet")
    network = config.build(1000, seed=0)
    config.initialise(network)
    assert not torch.equal(network.fc.weight, theirs.fc.weight)
    network.fc = theirs.fc
    assert torch.equal(network.eval()(images(64)), theirs.eval()(images(64)))


def test_missing_weights_say_what_to_download_and_where_to(cache):
    config = Classic(name="resnet18", input_px=32, weights="imagenet")
    with pytest.raises(ValueError, match=r"download https://\S+/resnet18-f37072fd.pth to ") as raised:
        config.initialise(on_meta(config))
    assert str(cache) in str(raised.value)


def test_damaged_weights_are_refused(cache):
    (cache / "resnet18-f37072fd.pth").write_bytes(b"half a download")
    config = Classic(name="resnet18", input_px=32, weights="imagenet")
    with pytest.raises(ValueError, match=r"resnet18-f37072fd.pth is damaged"):
        config.initialise(on_meta(config))


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("older", [False, True])
def test_weights_may_be_a_file(tmp_path, ending, older):
    path, theirs = tmp_path / f"weights.{ending}", published("resnet18", 3)
    state = {key: value for key, value in theirs.state_dict().items() if not (older and "num_batches" in key)}
    if ending == "pth":
        torch.save(state, path, _use_new_zipfile_serialization=not older)
    else:
        save_file(state, path)
    config = Classic(name="resnet18", input_px=32, weights=str(path))
    network = config.build(5, seed=0)
    config.initialise(network)
    assert torch.equal(network.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)
    assert network.fc.out_features == 5


def small_network():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    network.head = "1"
    return network


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"0.bias": None}, "without 0.bias"),
        ({"2.bias": torch.zeros(2)}, "with 2.bias"),
        ({"0.bias": torch.zeros(4)}, "of other shape in 0.bias"),
    ],
)
def test_weights_of_another_network_change_nothing(change, problem):
    network, other = small_network(), small_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {key: value for key, value in (other.state_dict() | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"file.pth: weights of another network, {problem}"):
        load_all_but_head(network, state, "file.pth")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_unreadable_files_are_named(tmp_path, ending):
    path = tmp_path / f"weights.{ending}"
    with pytest.raises(ValueError, match=f"no weights file .*{path.name}"):
        read_weights(path)
    for content in (b"", b"not weights", b"PK\x03\x04 not a zip file"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name} cannot be read"):
            read_weights(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, {1: torch.zeros(1)}, nn.Linear(2, 2)])
def test_files_with_anything_but_tensors_by_name_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights.pth (does not hold tensors by name|cannot be read)"):
        read_weights(tmp_path / "weights.pth")


def test_a_digest_is_compared_from_its_start(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    check_digest(path, "ba7816bf")
    with pytest.raises(ValueError, match=r"file is damaged or another file.* ba7816bf, not 00000000"):
        check_digest(path, "00000000")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "vgg11"}, "name must be one of .*, not 'vgg11'"),
        ({"input_px": 31}, "input_px must be a whole number of at least 32, not 31"),
        ({"name": "alexnet", "weights": "imagenet"}, "input_px must be a whole number of at least 63, not 32"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"weights": "ImageNet"}, "weights .*not 'ImageNet'"),
    ],
)
def test_values_that_are_not_allowed_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Classic(**({"name": "resnet18", "input_px": 32} | changes))
