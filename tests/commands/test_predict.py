"""Predictions of a saved network in the terminal."""

import re

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save as save_weights

from search import predict
from search.common.commandline import exit_code
from search.training.trainedmodel import TrainedModel, save_model
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig
from wbcmodels.family import build


@pytest.fixture
def predictions(tmp_path, capsys, monkeypatch):
    """The lines that are printed for two images and any classes."""

    monkeypatch.chdir(tmp_path)  # names as short as a user's

    def printed(classes):
        config = ModelConfig(placement="none", width=0.125, input_px=12)
        weights = save_weights(build(config, len(classes), seed=0).state_dict())
        normalisation = Normalisation(mean=(120, 120, 120), std=(40, 40, 40))
        model = TrainedModel(config=config, normalisation=normalisation, classes=classes, weights=weights)
        save_model(tmp_path / "study" / "model", model, {"level": "none"})
        for number in range(2):
            noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f"{number}.png")
        assert exit_code(predict.app, ["study", "0.png", "1.png"]) == 0
        return capsys.readouterr().out

    return printed


def test_every_class_has_a_column_where_there_is_room(predictions):
    printed = predictions(("basophil", "monocyte", "neutrophil"))
    header = printed.splitlines()[0]
    assert header.split()[-3:] == ["basophil", "monocyte", "neutrophil"]
    assert len(printed.splitlines()) == 3


def test_many_classes_are_the_three_most_probable(predictions):
    classes = tuple(f"stage {number:02d} of granulocyte maturation" for number in range(40))
    printed = predictions(classes)
    assert len(printed.splitlines()) < 12  # not one letter a line
    assert len(re.findall(r"\b[01]\.\d{3}\b", printed)) == 2 * 3
