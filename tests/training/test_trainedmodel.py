import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_weights

from search.common.errors import InputError
from search.training.trainedmodel import CONFIG, TYPICAL, WEIGHTS, TrainedModel, amend, load_model, save_model
from search.training.types import Normalisation
from search.training.typical import fit_typical
from wbcmodels.config import ModelConfig

CLASSES = ("basophil", "lymphocyte", "monocyte")
PREDICTION = Path(__file__).parents[2] / "docs" / "predict.md"


def trained(placement="1", norm="batch", seed=0):
    """A network with weights and norm statistics that no new one has."""
    config = ModelConfig(placement=placement, norm=norm, width=0.125, input_px=16)
    model = config.build(3, seed)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: value + 0.1 * torch.rand(value.shape, generator=generator)
        if value.is_floating_point()
        else value + 7
        for name, value in model.state_dict().items()
    }
    return TrainedModel(
        config=config,
        normalisation=Normalisation(mean=(120.5, 100.25, 130.0), std=(30.0, 1.0, 2.5)),
        classes=CLASSES,
        weights=save_weights(state),
    )


def logits(model):
    images = torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.build().eval()(images)


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", trained(), {"level": "1"})
    return tmp_path / "model"


def refused(folder, culprit):
    """The one line that names the file at fault."""
    with pytest.raises(InputError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / culprit}: ")
    return message


def change(folder, **values):
    """Change entries of config.json; None removes one."""
    description = json.loads((folder / CONFIG).read_text(encoding="utf-8")) | values
    kept = {name: value for name, value in description.items() if value is not None}
    (folder / CONFIG).write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize("placement", ["none", "1", "2+3"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_round_trip_gives_the_same_network(tmp_path, placement, norm):
    model = trained(placement, norm)
    save_model(tmp_path / "a" / "model", model, {"level": placement})
    loaded = load_model(tmp_path / "a" / "model")
    assert loaded == model
    assert torch.equal(logits(loaded), logits(model))
    other = trained(placement, norm, seed=5)
    save_model(tmp_path / "a" / "model", other, {})  # replaces the first
    assert load_model(tmp_path / "a" / "model") == other
    assert not torch.equal(logits(other), logits(model))


def test_config_says_how_to_use_the_weights(folder):
    description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert description["architecture"]["placement"] == "1"
    assert description["input_px"] == description["architecture"]["input_px"] == 16
    assert description["normalisation"] == {"mean": [120.5, 100.25, 130.0], "std": [30.0, 1.0, 2.5]}
    assert description["classes"] == list(CLASSES)
    assert description["level"] == "1"
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


def test_predictions_are_probabilities_and_the_same_after_loading(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    probabilities = load_model(folder).predict(pixels)
    assert probabilities.shape == (5, 3)
    assert probabilities.sum(1) == pytest.approx(np.ones(5), abs=1e-4)
    assert np.array_equal(probabilities, trained().predict(pixels))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_divides_the_logits(folder, temperature):
    change(folder, temperature=temperature)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    plain = torch.from_numpy(trained().predict(pixels))
    expected = (plain.log() / temperature).softmax(dim=1).numpy()
    assert load_model(folder).predict(pixels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_and_a_folder_in_its_place_are_named(folder, name):
    (folder / name).unlink()
    assert "no such file" in refused(folder, name)
    (folder / name).mkdir()
    refused(folder, name)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff\xff", b"{}"])
def test_a_damaged_config_is_named(folder, content):
    (folder / CONFIG).write_bytes(content)
    refused(folder, CONFIG)


@pytest.mark.parametrize(
    "values",
    [
        {"architecture": None},
        {"normalisation": None},
        {"classes": None},
        {"architecture": {"placement": "4"}},
        {"architecture": {"colour": "red"}},
        {"architecture": []},
        {"normalisation": {"mean": [1, 2, 3]}},
        {"normalisation": {"mean": 1, "std": 1}},
        {"normalisation": {"mean": [1, 2], "std": [1, 2, 3]}},
        {"classes": ["a"]},
        {"temperature": 0},
        {"temperature": "warm"},
        {"class": ["wbcmodels.config", "Size"]},
        {"class": ["wbcmodels.pretrained", "torch.load"]},
    ],
    ids=str,
)
def test_a_config_that_does_not_describe_the_network_is_refused(folder, values):
    change(folder, **values)
    refused(folder, CONFIG)


def test_a_class_that_a_module_merely_imports_is_refused(folder, monkeypatch):
    monkeypatch.setattr("wbcmodels.cost.ModelConfig", ModelConfig, raising=False)
    change(folder, **{"class": ["wbcmodels.cost", "ModelConfig"]})
    assert "no configuration of wbcmodels.cost" in refused(folder, CONFIG)


def test_a_config_of_an_earlier_version_is_read_if_the_network_is_the_same(folder):
    architecture = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["architecture"]
    change(folder, architecture=architecture | {"padding": "same", "n_classes": 3}, **{"class": None})
    assert load_model(folder) == trained()
    change(folder, fc1_reads=None)
    assert "earlier version" in refused(folder, CONFIG)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_named(folder, part):
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: int(part * len(weights))])
    refused(folder, WEIGHTS)


@pytest.mark.parametrize("other", [{"placement": "2"}, {"norm": "none"}])
def test_weights_of_a_different_network_are_refused(folder, other):
    (folder / WEIGHTS).write_bytes(trained(**other).weights)
    refused(folder, WEIGHTS)


class Trap:
    """Sets a flag when unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_nothing_is_ever_unpickled(folder):
    trap = pickle.dumps(Trap())
    pickle.loads(trap)
    assert Trap.sprung  # the trap works
    Trap.sprung = False
    (folder / WEIGHTS).write_bytes(trap)
    refused(folder, WEIGHTS)
    torch.save(trained().build().state_dict(), folder / WEIGHTS)
    refused(folder, WEIGHTS)
    assert not Trap.sprung


def test_weights_in_half_precision_are_read_as_single(folder):
    whole, size = load_model(folder), (folder / WEIGHTS).stat().st_size
    documented = re.search(r"```python\n(.*?)```", PREDICTION.read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(documented.replace("STUDY_FOLDER/model", str(folder)))
    assert (folder / WEIGHTS).stat().st_size < 0.6 * size
    half = load_model(folder)
    state = half.build().state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}
    assert not any(torch.isnan(value).any() for value in state.values())
    torch.testing.assert_close(logits(half), logits(whole), atol=0.05, rtol=0.02)


def test_what_the_training_images_look_like_is_kept_with_the_weights_they_belong_to(tmp_path):
    features = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    typical = fit_typical({"features": features}, np.arange(200) % 3)
    save_model(tmp_path, replace(trained(), typical=typical, data="pbc"), {})
    again = load_model(tmp_path)
    assert again.typical.to_bytes() == typical.to_bytes()
    assert again.data == "pbc"
    save_model(tmp_path, trained(seed=1), {})
    assert load_model(tmp_path).typical is None


@pytest.mark.parametrize("data", [b"", b"damaged", save_arrays({"centre": np.zeros(3)})])
def test_a_damaged_file_of_what_is_typical_is_named(folder, data):
    (folder / TYPICAL).write_bytes(data)
    refused(folder, TYPICAL)


def test_entries_of_the_description_are_changed_and_the_others_stay(folder):
    before = json.loads((folder / CONFIG).read_text())
    amend(folder, temperature=2.5, calibration={"n_images": 3})
    after = json.loads((folder / CONFIG).read_text())
    assert after == before | {"temperature": 2.5, "calibration": {"n_images": 3}}
    assert load_model(folder).temperature == 2.5
