"""Every kind of file gives the probabilities of the network that it was made from."""

import io
import json
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from random_model import FAMILY, photos, trained
from torch import nn

from search.data.decode import resize_square
from search.export.check import FLOAT32
from search.export.formats import OPSET, to_onnx, to_safetensors, to_torch, unpack
from search.space import Preparation
from search.training.trainedmodel import load_model, save_model
from wbcmodels.classics import Classic
from wbcmodels.config import PLACEMENTS
from wbcmodels.efficientnet_lite import EfficientNetLite0
from wbcmodels.lenet import LeNet5

SIZES = [(1, 40, 33), (3, 24, 24), (2, 16, 50)]


@dataclass(frozen=True, kw_only=True)
class Own:
    """A network of somebody's own."""

    input_px: int = 16

    def build(self, n_classes, seed):
        features = [nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        return nn.Sequential(*features, nn.Linear(16, n_classes))


def networks():
    """Networks of every kind; those that take long to export are slow."""
    few = ("1", "2+3")
    for placement in PLACEMENTS:
        marks = () if placement in few else pytest.mark.slow
        yield pytest.param(replace(FAMILY, placement=placement), id=placement, marks=marks)
    yield pytest.param(replace(FAMILY, placement="1+2+3", norm="group", shortcut="projection"), id="group norm")
    yield pytest.param(Own(), id="own")
    yield pytest.param(LeNet5(input_px=16), id="lenet5")
    yield pytest.param(EfficientNetLite0(input_px=32, pretrained=False), id="efficientnet_lite0")
    for name in ("alexnet", "vgg16_bn", "googlenet", "resnet18", "resnet50"):
        marks = () if name == "resnet18" else pytest.mark.slow
        yield pytest.param(Classic(name=name, input_px=32), id=name, marks=marks)


def squares(images, side):
    return np.stack([resize_square(image, side) for image in images])


@pytest.mark.parametrize("config", list(networks()))
def test_onnx_takes_images_of_any_size(config):
    model = trained(config)
    content = to_onnx(model, {"classes": json.dumps(model.classes)})
    file = onnx.load_from_string(content)
    onnx.checker.check_model(file, full_check=True)
    assert [(each.domain, each.version) for each in file.opset_import] == [("", OPSET)]
    session = onnxruntime.InferenceSession(content)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(model.classes)
    for n, height, width in SIZES:
        images = photos(n, height, width)
        found, logits = session.run(["probabilities", "logits"], {"images": images})
        expected = model.predict(squares(images, config.input_px), FLOAT32)
        assert found == pytest.approx(expected, abs=1e-4)
        cooled = torch.from_numpy(logits / model.temperature).softmax(1).numpy()
        assert cooled == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("config", list(networks()))
def test_a_torch_program_takes_squares(config):
    model, side = trained(config), config.input_px
    facts = {"side_px": ""}
    program = torch.export.load(io.BytesIO(to_torch(model, {"side_px": str(side)})), extra_files=facts).module()
    assert int(facts["side_px"]) == side
    for n in (1, 5):
        images = squares(photos(n, side, side), side)
        with torch.no_grad():
            found = program(torch.from_numpy(images)).numpy()
        assert found == pytest.approx(model.predict(images, FLOAT32), abs=1e-4)


@pytest.mark.parametrize("config", [FAMILY, EfficientNetLite0(input_px=32, pretrained=False)])
def test_safetensors_are_a_whole_network(tmp_path, config):
    model = trained(config, preparation=Preparation(stain="macenko", scale="nucleus"))
    save_model(tmp_path / "model", model, {"level": "1"})
    (tmp_path / "one.safetensors").write_bytes(to_safetensors(model, tmp_path / "model"))
    unpack(tmp_path / "one.safetensors", tmp_path / "again" / "model")
    again = load_model(tmp_path / "again" / "model")
    images = squares(photos(3, 40, 40), config.input_px)
    assert replace(again, weights=b"") == replace(model, weights=b"")
    assert np.array_equal(again.predict(images), model.predict(images))


def test_a_prepared_background_is_in_the_graph():
    white, plain = (trained(preparation=Preparation(stain=stain)) for stain in ("white", "kept"))
    images = photos(4, 40, 33) // 2
    found = onnxruntime.InferenceSession(to_onnx(white, {})).run(["probabilities"], {"images": images})[0]
    seen = squares(images, 16)
    assert found == pytest.approx(white.predict(seen, FLOAT32), abs=1e-5)
    assert np.abs(found - plain.predict(seen, FLOAT32)).max() > 1e-3
