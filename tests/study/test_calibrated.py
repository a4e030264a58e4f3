"""The saved network's temperature is fitted to its predictions in the comparison, whatever happens on the way."""

import json

import numpy as np
import pytest
from local_study import CPU, draw, local_studies

from search.common.metrics import at_temperature
from search.training.trainedmodel import TYPICAL, load_model

CLASSES = ("basophil", "eosinophil", "neutrophil")
N_IMAGES = 150


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    data = {"source": draw("own", CLASSES, N_IMAGES, 0), "target": draw("others", CLASSES, 30, 1)}
    with local_studies(tmp_path_factory, **data, folds=2) as make:
        yield make


@pytest.fixture(scope="module")
def finished(make):
    return make().run()


def described(study):
    return json.loads((study.folder.model / "config.json").read_text())


def test_the_temperature_lowers_the_loss_of_the_networks_own_predictions(finished):
    found = described(finished)
    rows = finished.table("predictions", "compare").query(f"level == {found['level']!r}")
    labels = np.array([CLASSES.index(name) for name in rows["label"]])
    shares = rows[[f"probability_{name}" for name in CLASSES]].to_numpy()

    def loss(temperature):
        return -np.log(at_temperature(shares.clip(1e-7), temperature)[np.arange(len(labels)), labels]).mean()

    assert found["calibration"]["n_images"] == rows["image"].nunique()
    assert found["calibration"]["log_loss_before"] == pytest.approx(loss(1.0), rel=1e-3)
    best = loss(found["temperature"])
    assert best <= min(loss(found["temperature"] * factor) for factor in (0.9, 1.1)) + 1e-9
    assert load_model(finished.folder.model).temperature == found["temperature"]


def test_scores_of_the_test_set_are_those_before_calibration(finished):
    model = load_model(finished.folder.model)
    rows = finished.table("predictions", "test")
    place = [finished.source.names.index(name) for name in rows["image"]]
    pixels = finished.source.pixels[model.config.input_px][place]
    tested = rows[[f"probability_{name}" for name in CLASSES]].to_numpy()
    assert model.temperature != 1
    calibrated = at_temperature(tested, model.temperature)
    # A worker may compute in half precision on this machine.
    assert np.abs(model.predict(pixels) - calibrated).mean() < 0.02


def test_other_images_of_the_same_kind_are_typical(finished, monkeypatch):
    # After one epoch, images of a class hardly differ to the network: half precision would make a difference.
    monkeypatch.setattr("search.training.device.choose_device", lambda gpu: CPU)
    model = load_model(finished.folder.model)
    # Those that it was fitted to lie farther out: the main directions of few images are theirs by chance.
    pixels = draw("own", CLASSES, 300, 7).pixels[model.config.input_px]
    assert model.judge(pixels)[1].mean() < 0.1
    assert model.judge(255 - pixels)[1].mean() > 0.5
    assert model.data == "own"


@pytest.mark.parametrize("kill_at", [5, 6, 7])
def test_a_study_that_is_killed_anywhere_resumes_to_the_same_files(make, finished, kill_at):
    other = make().run(kill_at=kill_at).restart().run()
    own, its = described(finished), described(other)
    assert own["calibration"] == pytest.approx(its["calibration"], rel=1e-4)
    assert own["temperature"] == pytest.approx(its["temperature"], rel=1e-4)
    assert (finished.folder.model / TYPICAL).read_bytes() == (other.folder.model / TYPICAL).read_bytes()


def test_an_extended_study_has_the_temperature_of_an_unbroken_one(make, finished):
    extended = make(copy_of=finished).restart(repeats=2).run()
    unbroken = make(repeats=2).run()
    own, its = described(extended), described(unbroken)
    assert own["level"] == its["level"]
    assert own["temperature"] == pytest.approx(its["temperature"], rel=1e-4)
    assert own["calibration"] == pytest.approx(its["calibration"], rel=1e-4)
    if own["level"] == described(finished)["level"]:
        assert own["temperature"] != described(finished)["temperature"]
