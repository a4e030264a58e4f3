"""Finished studies whose network is exchanged for another one."""

import json
import shutil

import pytest
from PIL import Image
from random_model import photos
from written_study import CLASSES, write_study

from search.training.trainedmodel import save_model


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("written") / "study")


@pytest.fixture
def study(written, tmp_path):
    """Makes a study of a network, and of images in a folder."""

    def make(model, data=None):
        folder = shutil.copytree(written, tmp_path / "study")
        shutil.rmtree(folder / "model")
        save_model(folder / "model", model, {"level": "1"})
        if data is not None:
            description = json.loads((folder / "study.json").read_text())
            description["arguments"]["data"] = str(data)
            (folder / "study.json").write_text(json.dumps(description))
        return folder

    return make


@pytest.fixture
def images(tmp_path):
    """A folder with images of two classes, each image of another size."""
    for number, (height, width) in enumerate(((40, 33), (16, 16), (90, 20), (17, 64))):
        folder = tmp_path / "cells" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photos(1, height, width, number)[0]).save(folder / f"{number}.png")
    return tmp_path / "cells"
