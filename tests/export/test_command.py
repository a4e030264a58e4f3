"""The command: what it writes and says, and what it refuses."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from addresses import in_memory
from huggingface_hub import ModelCard
from PIL import Image
from random_model import FAMILY, photos, trained

from search.common.commandline import exit_code
from search.data.decode import read_rgb, resize_square
from search.export import export
from search.export.__main__ import app
from search.export.check import FLOAT32
from search.export.formats import SUFFIXES, to_torch, unpack
from search.space import Preparation
from search.space.load import import_file
from search.training.trainedmodel import load_model
from wbcmodels.traditional.config import Traditional

EXAMPLE = Path(__file__).parents[2] / "docs" / "classify_with_onnx.py"
OWN = """
from dataclasses import dataclass
from torch import nn

@dataclass(frozen=True, kw_only=True)
class Mine:
    input_px: int = 16

    def build(self, n_classes, seed):
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                             nn.Linear(16, n_classes))
"""


@pytest.fixture
def run(capfd):
    """Runs the command, and gives its exit code and what it prints."""

    def run(*arguments):
        code = exit_code(app, [*map(str, arguments)])
        return code, capfd.readouterr()

    return run


def refused(run, *arguments):
    """The one line of a command that writes nothing."""
    code, said = run(*arguments)
    assert (code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_checked_file_and_its_card_are_written(study, images, tmp_path, run, kind):
    file = tmp_path / f"cells{SUFFIXES[kind]}"
    code, said = run(study(trained(), images), "--to", kind, "--output", file)
    assert code == 0, said.err
    assert f"4 images of {images.name}" in said.out
    card = ModelCard.load(tmp_path / "cells.md")
    assert file.name in card.text
    assert {path.name for path in tmp_path.iterdir()} == {"study", images.name, file.name, "cells.md"}
    for path in (file, tmp_path / "cells.md"):  # nothing of this machine leaves the house
        assert str(Path(export.__file__).parents[2]).encode() not in path.read_bytes()


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_code_in_a_card_runs(study, images, tmp_path, run, monkeypatch, kind):
    model, file = trained(), tmp_path / f"cells{SUFFIXES[kind]}"
    assert run(study(model, images), "--to", kind, "--output", file)[0] == 0
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photos(1, 40, 33)[0]).save("cell.png")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "cells.md").read_text(), re.DOTALL)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    square = resize_square(read_rgb(Path("cell.png")), FAMILY.input_px)
    expected = model.predict(square[None], FLOAT32)[0]
    if kind == "safetensors":
        assert np.array_equal(load_model(Path("cells/model")).predict(square[None], FLOAT32)[0], expected)
    else:
        assert said.getvalue().split()[0] == model.classes[expected.argmax()]


def test_a_study_at_an_address_is_exported_as_its_folder_is(study, images, tmp_path, run, monkeypatch):
    folder = study(trained(), images)
    files = []
    for number, place in enumerate((folder, in_memory(folder, monkeypatch, tmp_path / "cache"))):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / "cells.safetensors")
        code, said = run(place, "--to", "safetensors", "--output", files[-1])
        assert code == 0, said.err
    for of_folder, of_address in (files, [file.with_suffix(".md") for file in files]):
        assert of_folder.read_bytes() == of_address.read_bytes()


def test_drawn_cells_stand_in_for_images_that_are_gone(study, tmp_path, run):
    code, said = run(study(trained(), tmp_path / "gone"), "--to", "torch", "--output", tmp_path / "cells.pt2")
    assert code == 0
    assert str(tmp_path / "gone") in " ".join(said.out.split())


def test_a_file_that_disagrees_is_not_kept(study, images, tmp_path, run, monkeypatch):
    other = trained(temperature=0.2)
    monkeypatch.setattr(export, "to_torch", lambda model, facts: to_torch(other, facts))
    code, said = run(study(trained(), images), "--to", "torch", "--output", tmp_path / "cells.pt2")
    assert code == 1
    assert f"{tmp_path / 'cells.pt2'}: " in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"study", images.name}


@pytest.mark.parametrize("kind", SUFFIXES)
def test_an_unfit_name_and_an_existing_file_are_refused(study, tmp_path, run, kind):
    folder, suffix = study(trained()), SUFFIXES[kind]
    wrong = tmp_path / "cells.bin"
    assert f"{wrong}: " in refused(run, folder, "--to", kind, "--output", wrong)
    for there in (f"cells{suffix}", "cells.md"):
        (tmp_path / there).write_text("mine")
        assert f"{tmp_path / there}: " in refused(
            run, folder, "--to", kind, "--output", tmp_path / f"cells{suffix}"
        )
        assert (tmp_path / there).read_text() == "mine"
        (tmp_path / there).unlink()
    nowhere = tmp_path / "nowhere" / f"cells{suffix}"
    assert str(nowhere.parent) in refused(run, folder, "--to", kind, "--output", nowhere)


@pytest.mark.parametrize("package", export.PACKAGES)
def test_a_missing_package_is_named(study, tmp_path, run, monkeypatch, package):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == package else object())
    said = refused(run, study(trained()), "--to", "onnx", "--output", tmp_path / "cells.onnx")
    assert package in said
    assert "pip install 'wbc-search[export]'" in said


@pytest.mark.parametrize("changes", [{"stain": "reinhard"}, {"scale": "nucleus"}, {"background": "white"}])
def test_a_preparation_that_no_graph_can_make_is_refused(study, images, tmp_path, run, changes):
    folder = study(trained(preparation=Preparation(**changes)), images)
    ((name, value),) = changes.items()
    for kind in ("onnx", "torch"):
        said = refused(run, folder, "--to", kind, "--output", tmp_path / f"cells{SUFFIXES[kind]}")
        assert f"{name} {value}" in said
    assert run(folder, "--to", "safetensors", "--output", tmp_path / "cells.safetensors")[0] == 0


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_classifier_of_measured_features_is_refused(study, tmp_path, run, monkeypatch, kind):
    folder, config = study(trained()), Traditional(input_px=32)
    monkeypatch.setattr(export, "load_model", lambda folder, trusted: trained().__class__(
        config=config, normalisation=trained().normalisation, classes=("a", "b"), weights=b""
    ))  # fmt: skip
    said = refused(run, folder, "--to", kind, "--output", tmp_path / f"cells{SUFFIXES[kind]}")
    assert "Traditional" in said


def test_code_that_came_with_a_network_must_be_trusted(study, images, tmp_path, run):
    (tmp_path / "mine.py").write_text(OWN)
    folder = study(trained(import_file(tmp_path / "mine.py").Mine()), images)
    file = tmp_path / "cells.safetensors"
    assert "--trust" in refused(run, folder, "--to", "safetensors", "--output", file)
    assert run(folder, "--to", "safetensors", "--output", file, "--trust")[0] == 0
    unpack(file, tmp_path / "again")
    assert load_model(tmp_path / "again", trusted=True).config.input_px == 16


def test_the_example_needs_nothing_of_this_project(study, images, tmp_path, run):
    model, file = trained(), tmp_path / "cells.onnx"
    assert run(study(model, images), "--to", "onnx", "--output", file)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    names = sorted(images.rglob("*.png"))
    # -X importtime lists every module that is imported.
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", EXAMPLE, file, *names],
        capture_output=True, text=True, cwd=tmp_path / "elsewhere", timeout=300,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    imported = {line.split("|")[-1].strip().split(".")[0] for line in ran.stderr.splitlines()}
    assert "onnxruntime" in imported
    assert not imported & {"search", "wbcmodels", "torch"}
    header, *rows = (line.split("\t") for line in ran.stdout.splitlines())
    expected = model.predict(np.stack([resize_square(read_rgb(name), FAMILY.input_px) for name in names]), FLOAT32)
    assert header[2:] == list(model.classes)
    assert [row[0] for row in rows] == list(map(str, names))
    assert [row[1] for row in rows] == [model.classes[k] for k in expected.argmax(1)]
    assert np.array([row[2:] for row in rows], float) == pytest.approx(expected, abs=1e-4)


def test_help_does_not_wait_for_torch():
    code = "import sys, search.export.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
