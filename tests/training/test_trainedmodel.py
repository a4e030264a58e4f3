import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_weights

from search.common.errors import InputError
from search.training.trainedmodel import CONFIG, WEIGHTS, TrainedModel, load_model, save_model
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig
from wbcmodels.family import build

CLASSES = ("basophil", "lymphocyte", "monocyte")


def trained(placement="1", norm="batch", seed=0):
    """A network whose weights, and norm statistics, are those of no fresh one."""
    config = ModelConfig(placement=placement, norm=norm, width=0.125, input_px=16, n_classes=3)
    model = build(config, seed)
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


def refused(folder):
    with pytest.raises(InputError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def change(folder, **values):
    """Change entries of config.json; None takes one out."""
    description = json.loads((folder / CONFIG).read_text(encoding="utf-8")) | values
    kept = {name: value for name, value in description.items() if value is not None}
    (folder / CONFIG).write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize("placement", ["none", "1", "2+3"])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_round_trip_gives_the_same_network(tmp_path, placement, norm):
    model = trained(placement, norm)
    save_model(tmp_path / "a" / "model", model, {"level": placement})
    loaded = load_model(tmp_path / "a" / "model")
    assert loaded == model
    assert torch.equal(logits(loaded), logits(model))
    fresh = TrainedModel(
        config=model.config,
        normalisation=model.normalisation,
        classes=CLASSES,
        weights=save_weights(build(model.config, 0).state_dict()),
    )
    assert not torch.equal(logits(fresh), logits(model))


def test_config_says_how_to_use_the_weights(folder):
    description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert description["architecture"]["placement"] == "1"
    assert description["input_px"] == description["architecture"]["input_px"] == 16
    assert description["normalisation"] == {"mean": [120.5, 100.25, 130.0], "std": [30.0, 1.0, 2.5]}
    assert description["classes"] == list(CLASSES)
    assert description["level"] == "1"
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


def test_saving_again_replaces(folder):
    other = trained(seed=5)
    save_model(folder, other, {})
    assert load_model(folder) == other
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


def test_predictions_are_probabilities_and_the_same_after_loading(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    probabilities = load_model(folder).predict(pixels)
    assert probabilities.shape == (5, 3)
    assert probabilities.sum(1) == pytest.approx(np.ones(5), abs=1e-4)
    assert np.array_equal(probabilities, trained().predict(pixels))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert refused(folder).startswith(f"{folder / name}: there is no such file")


def test_missing_folder_is_an_input_error(tmp_path):
    assert "there is no such file" in refused(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff\xff", b"{}"])
def test_damaged_config_is_named(folder, content):
    (folder / CONFIG).write_bytes(content)
    assert refused(folder).startswith(f"{folder / CONFIG}: it is damaged")


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
    ],
    ids=str,
)
def test_config_that_describes_no_network_is_named(folder, values):
    change(folder, **values)
    assert refused(folder).startswith(f"{folder / CONFIG}: it is damaged")


@pytest.mark.parametrize(
    "values",
    [{"classes": ["a", "b"]}, {"classes": []}, {"normalisation": {"mean": [1, 2], "std": [1, 2, 3]}}],
    ids=str,
)
def test_config_that_does_not_agree_with_itself_is_refused(folder, values):
    change(folder, **values)
    assert refused(folder).startswith(f"{folder / CONFIG}: ")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_cut_off_weights_are_named(folder, part):
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: int(part * len(weights))])
    assert refused(folder).startswith(f"{folder / WEIGHTS}: it is damaged")


@pytest.mark.parametrize("other", [{"placement": "2"}, {"norm": "none"}])
def test_weights_of_another_network_are_refused(folder, other):
    (folder / WEIGHTS).write_bytes(trained(**other).weights)
    assert refused(folder).startswith(f"{folder / WEIGHTS}: it is damaged")


@pytest.mark.parametrize(
    "name",
    [CONFIG, WEIGHTS],
)
def test_folder_in_a_files_place_is_named(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refused(folder).startswith(f"{folder / name}: ")


class Trap:
    """Does something when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_ever_unpickled(folder, protocol):
    trap = pickle.dumps(Trap(), protocol=protocol)
    pickle.loads(trap)
    assert Trap.sprung  # the trap works
    Trap.sprung = False
    (folder / WEIGHTS).write_bytes(trap)
    assert refused(folder).startswith(f"{folder / WEIGHTS}: it is damaged")
    assert not Trap.sprung


def test_torchs_own_files_are_refused(folder):
    torch.save(trained().build().state_dict(), folder / WEIGHTS)
    assert refused(folder).startswith(f"{folder / WEIGHTS}: it is damaged")


def test_a_network_of_an_earlier_version_is_refused(folder):
    change(folder, fc1_reads=None)
    assert "of an earlier version" in refused(folder)
