"""Predictions of a saved network by the real command, in this process."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from addresses import in_memory
from PIL import Image
from safetensors.torch import save as save_weights

from search.common.commandline import exit_code
from search.predict.__main__ import app
from search.training.trainedmodel import TrainedModel, load_model, save_model
from search.training.types import Normalisation
from search.training.typical import fit_typical, views_of
from wbcmodels.config import ModelConfig

CLASSES = ("basophil", "monocyte", "neutrophil")
SIDE = 12


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes a study's model of any classes, and images beside it."""
    monkeypatch.chdir(tmp_path)  # names as short as a user's

    def make(classes=CLASSES, n_images=2, **changes):
        config = ModelConfig(placement="none", width=0.125, input_px=SIDE)
        weights = save_weights(config.build(len(classes), seed=0).state_dict())
        normalisation = Normalisation(mean=(120, 120, 120), std=(40, 40, 40))
        model = TrainedModel(config=config, normalisation=normalisation, classes=classes, weights=weights)
        save_model(tmp_path / "study" / "model", replace(model, **changes), {"level": "none"})
        for number in range(n_images):
            draw(tmp_path / "cells" / f"{number}.png", number)
        return tmp_path

    return make


@pytest.fixture
def prints(capsys):
    def prints(*arguments):
        code = exit_code(app, ["study", *map(str, arguments)])
        printed = capsys.readouterr()
        assert code == 0, printed
        return printed.out

    return prints


@pytest.fixture
def refuses(capsys):
    def refuses(*arguments):
        assert exit_code(app, ["study", *map(str, arguments)]) == 2
        printed = capsys.readouterr()
        (line,) = printed.err.strip().splitlines()
        assert not printed.out
        return line

    return refuses


def confidences(printed):
    """The highest probability of each image in the printed table, in its order."""
    rows = [line for line in printed.splitlines() if ".png" in line]
    return [max(map(float, re.findall(r"\b[01]\.\d{3}\b", row))) for row in rows]


def test_every_class_has_a_column_where_there_is_room(make, prints):
    make()
    printed = prints("cells/0.png", "cells/1.png")
    assert printed.splitlines()[0].split()[-3:] == list(CLASSES)
    assert len(confidences(printed)) == 2


def test_many_classes_are_the_three_most_probable(make, prints):
    make(tuple(f"stage {number:02d} of granulocyte maturation" for number in range(40)))
    printed = prints("cells")
    table, _ = printed.split("share", 1)
    assert len(table.splitlines()) < 14  # not one letter a line
    assert len(re.findall(r"\b[01]\.\d{3}\b", table)) == 2 * 3


def test_classes_are_counted(make, prints):
    make(n_images=7)
    for more in ((), ("--output", "p.csv")):
        printed = prints("cells", *more)
        counts = re.findall(r"^ *(\w+) +(\d+) +(\d+\.\d)%", printed, re.MULTILINE)
        assert [name for name, _, _ in counts] == list(CLASSES)
        assert sum(int(n) for _, n, _ in counts) == 7
        assert sum(float(share) for _, _, share in counts) == pytest.approx(100, abs=0.2)


def test_the_least_certain_come_first_by_doubt(make, prints):
    make(n_images=9)
    given, sorted_ = (confidences(prints("cells", "--sort", order)) for order in ("given", "doubt"))
    assert sorted_ == sorted(given)
    assert given != sorted_


def test_all_formats_hold_the_same(make, prints):
    make(n_images=5)
    for suffix in ("csv", "parquet", "jsonl", "ndjson"):
        prints("cells", "--output", f"p.{suffix}")
    lines = Path("p.jsonl").read_text()
    assert lines == Path("p.ndjson").read_text()
    rows = [json.loads(line) for line in lines.splitlines()]
    assert rows == pd.read_parquet("p.parquet").astype(object).to_dict("records")
    written = list(csv.DictReader(Path("p.csv").read_text().splitlines()))
    assert [list(row) for row in written] == [list(row) for row in rows]
    for row, text in zip(rows, written, strict=True):
        for name, value in row.items():
            assert text[name] == "" if value is None else type(value)(text[name]) == value
    model = load_model(make() / "study" / "model")
    pixels = np.stack([np.array(Image.open(row["image"])) for row in rows])
    found = [[row[f"probability_{name}"] for name in CLASSES] for row in rows]
    np.testing.assert_allclose(found, model.predict(pixels), atol=1e-6)


@pytest.mark.parametrize("name", ["p", "p.xlsx", "p.csv.gz"])
def test_other_formats_are_refused_by_name(make, refuses, name):
    make()
    said = refuses("cells", "--output", name)
    assert name in said
    assert all(suffix in said for suffix in (".csv", ".parquet", ".jsonl"))


def test_damaged_images_are_named_and_left_out_if_asked(make, prints, refuses):
    make(n_images=3)
    Path("cells/1.png").write_bytes(b"no image")
    assert "1.png" in refuses("cells")
    assert len(confidences(prints("cells", "--skip-bad"))) == 2


def test_damaged_images_alone_are_refused(make, capsys):
    make(n_images=1)
    Path("cells/0.png").write_bytes(b"no image")
    assert exit_code(app, ["study", "cells", "--skip-bad"]) == 2
    assert "0.png" in capsys.readouterr().err


# Labels


@pytest.fixture
def labelled(make):
    """A label for each image: the class that is predicted, but for the first, which has another."""
    folder = make(n_images=12)
    model = load_model(folder / "study" / "model")
    names = sorted((folder / "cells").iterdir())
    predicted = model.predict(np.stack([np.array(Image.open(name)) for name in names])).argmax(1)
    labels = {name.name: CLASSES[k] for name, k in zip(names, predicted, strict=True)}
    labels["0.png"] = next(name for name in CLASSES if name != labels["0.png"])
    return labels


def write_labels(labels):
    rows = "".join(f"{name},{label}\n" for name, label in labels.items())
    Path("truth.csv").write_text(f"file,class\n{rows}")


def accuracy(printed):
    return [float(value) for value in re.search(r"accuracy +(\S+) +(\S+) to (\S+)", printed).groups()]


def test_a_table_of_labels_and_class_folders_score_alike(labelled, prints):
    write_labels(labelled)
    for name, label in labelled.items():
        (Path("true") / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(f"cells/{name}", f"true/{label}/{name}")
    by_table = prints("cells", "--labels", "truth.csv", "--output", "t.parquet")
    by_folder = prints("--labels", "true", "--output", "f.parquet")
    for printed in (by_table, by_folder):
        value, low, high = accuracy(printed)
        assert value == pytest.approx(11 / 12, abs=1e-3)
        assert low < value < high
        assert "balanced accuracy" in printed
        assert "macro F1" in printed
    table, folder = (pd.read_parquet(name) for name in ("t.parquet", "f.parquet"))
    assert dict(zip(table["image"].str.split("/").str[-1], table["label"], strict=True)) == labelled
    assert (table["label"] == table["predicted"]).sum() == (folder["label"] == folder["predicted"]).sum() == 11


def test_images_without_a_label_are_predicted_and_not_scored(labelled, prints):
    some = dict(list(labelled.items())[:9])
    write_labels(some)
    printed = prints("cells", "--labels", "truth.csv", "--output", "p.parquet")
    assert "3 of 12" in printed
    assert accuracy(printed)[0] == pytest.approx(8 / 9, abs=1e-3)
    assert pd.read_parquet("p.parquet")["label"].isna().sum() == 3


def test_a_class_that_the_network_lacks_is_named(labelled, refuses):
    write_labels(dict.fromkeys(labelled, "blast"))
    said = refuses("cells", "--labels", "truth.csv")
    assert "blast" in said
    assert "truth.csv" in said


def test_a_labelled_folder_takes_no_other_images(labelled, refuses):
    assert "cells" in refuses("cells", "--labels", "study")
    assert "IMAGES" in refuses()


# Warnings


def test_images_unlike_the_training_are_marked_and_counted(make, prints):
    make(n_images=4)
    rng = np.random.default_rng(5)
    grey = rng.normal(128, 5, (300, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    typical = fit_typical(views_of(grey, None), np.arange(300) % 3)
    make(typical=typical)
    Image.fromarray(grey[0]).save("cells/grey.png")
    printed = prints("cells", "--output", "p.csv")
    assert "4 of 5" in printed
    frame = pd.read_csv("p.csv").set_index("image")["unlike_training"]
    assert frame.sum() == 4
    assert not frame["cells/grey.png"]
    assert prints("cells").count(" yes") == 4


def test_a_study_that_does_not_know_its_images_says_so_once_and_marks_none(make, prints):
    make()
    printed = prints("cells", "--output", "p.parquet")
    assert printed.count("note") == 1
    assert pd.read_parquet("p.parquet")["unlike_training"].isna().all()


@pytest.mark.parametrize(
    ("data", "warned"), [("synthetic", True), ("synthetic-2", True), ("pbc", False), (None, False)]
)
def test_a_network_that_saw_drawn_cells_alone_says_so(make, prints, data, warned):
    make(data=data)
    assert ("drawn cells" in prints("cells")) == warned


def test_a_study_at_an_address_predicts_as_its_folder_does(make, monkeypatch, capsys):
    folder = make()
    (folder / "study" / "study.json").write_text("{}")
    address = in_memory(folder / "study", monkeypatch, folder / "cache")
    outputs = []
    for study in ("study", address):
        file = f"{len(outputs)}.csv"
        assert exit_code(app, [study, "cells", "--output", file]) == 0, capsys.readouterr()
        outputs.append(Path(file).read_text())
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 3
    assert {path.name for path in (folder / "cache").rglob("*") if path.is_file()} == {
        "config.json",
        "weights.safetensors",
    }
