"""The example images that a study keeps."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from search.common.errors import InputError
from search.data.decode import resize_square
from search.data.sources import open_source
from search.records.schema import KEY_COLUMNS, Key
from search.records.tables import read_table
from search.report.figures.example_images import read_pixels
from search.study.examples import (
    MOST_MISTAKES,
    MOST_PX,
    MOST_RECOGNISED,
    MOST_TEST_MISTAKES,
    choose_examples,
    keep_examples,
)

CLASSES = ("basophil", "lymphocyte", "monocyte")
COMPARE = Key(phase="compare", level="1", setting=0, data="cells", repeat=0, fold=0)
TEST = Key(phase="test", level="1", setting=0, data="cells")
# None of these are the winner's.
OTHERS = (
    {"repeat": 1},
    {"setting": 1},
    {"level": "none"},
    {"level": "paper_plain", "setting": None},
)


def predict(ledger, key, n_images, seed=0):
    """Enter predictions of images of all classes, some of them wrong."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(len(CLASSES)), n_images)
    labels = [CLASSES[k % len(CLASSES)] for k in range(n_images)]
    columns = {
        "image": [f"{label}/{k:03d}.png" for k, label in enumerate(labels)],
        "label": labels,
        "predicted": [CLASSES[k] for k in probabilities.argmax(1)],
        **{f"probability_{name}": probabilities[:, k].tolist() for k, name in enumerate(CLASSES)},
    }
    ledger.add("predictions", asdict(key), columns)


@pytest.fixture
def ledger(open_ledger):
    ledger = open_ledger()
    for key in (COMPARE, TEST):
        predict(ledger, key, 90)
    for other in OTHERS:
        predict(ledger, Key(**{**asdict(COMPARE), **other}), 90, seed=5)
    return ledger


class Study:
    """What keeping images needs of a study."""

    def __init__(self, ledger, photograph):
        self.ledger, self.photograph, self.notes, self.reporter = ledger, photograph, [], self

    def note(self, text):
        self.notes.append(text)


def photograph(name):
    """Noise that depends on the name, higher than wide."""
    rng = np.random.default_rng([len(name), *name.encode()])
    return rng.integers(0, 255, (90, 70, 3), dtype=np.uint8)


def kept(ledger, tmp_path, photograph=photograph):
    study = Study(ledger, photograph)
    keep_examples(study, "1", 0)
    ledger.flush()
    return read_table(tmp_path, "cells"), study.notes


def test_chosen_are_the_winners_most_confident_mistakes_and_an_example_of_each_class(ledger):
    rows = ledger.read("predictions").to_pandas()
    numbers = choose_examples(rows, "1", 0)
    chosen = rows.loc[numbers]
    assert not chosen.duplicated([*KEY_COLUMNS, "image"]).any()
    assert set(chosen["level"]) == {"1"}
    assert set(chosen["setting"]) == {0}
    compared, tested = (chosen[chosen["phase"] == phase] for phase in ("compare", "test"))
    assert set(compared["repeat"]) == {0}
    assert (compared["label"] != compared["predicted"]).all()
    assert len(compared) == MOST_MISTAKES
    right = tested["label"] == tested["predicted"]
    assert sorted(tested.loc[right, "label"]) == sorted(CLASSES)
    assert (~right).sum() == MOST_TEST_MISTAKES

    confidence = rows[[f"probability_{name}" for name in CLASSES]].max(axis=1)
    own = (rows["level"] == "1") & (rows["setting"] == 0)
    correct = rows["label"] == rows["predicted"]
    left_out = set(rows.index[own & (rows["phase"] == "compare") & (rows["repeat"] == 0) & ~correct]) - set(
        numbers
    )
    assert left_out
    assert confidence[list(left_out)].max() <= confidence[compared.index].min()
    for name in CLASSES:
        examples = own & (rows["phase"] == "test") & correct & (rows["label"] == name)
        assert confidence[examples].idxmax() in numbers


def test_of_many_classes_those_recognised_most_surely_have_an_example():
    names = [f"class {number}" for number in range(MOST_RECOGNISED + 3)]
    rows = pd.DataFrame(
        {
            **asdict(TEST),
            "image": name,
            "label": name,
            "predicted": name,
            **{f"probability_{other}": 0.0 for other in names},
            f"probability_{name}": 0.5 + number / 100,
        }
        for number, name in enumerate(names)
    )
    chosen = rows.loc[choose_examples(rows, "1", 0)]
    assert list(chosen["label"]) == names[:2:-1]


def test_without_predictions_there_is_no_table(open_ledger, tmp_path):
    assert kept(open_ledger(), tmp_path)[0].empty
    assert not (tmp_path / "cells.parquet").exists()


def test_images_are_kept_as_they_are_and_survive_the_journal(ledger, open_ledger, tmp_path):
    cells, notes = kept(ledger, tmp_path)
    assert len(cells) == MOST_MISTAKES + MOST_TEST_MISTAKES + len(CLASSES)
    assert notes == []
    for image, png in zip(cells["image"], cells["png"], strict=True):
        np.testing.assert_array_equal(read_pixels(png), photograph(image)[10:80])
    assert open_ledger().read("cells").equals(ledger.read("cells"))
    assert ledger.read("cells").schema.field("png").type == pa.binary()


def test_large_images_are_kept_small(ledger, tmp_path):
    cells, _ = kept(ledger, tmp_path, lambda name: np.full((600, 400, 3), 7, np.uint8))
    assert {read_pixels(png).shape for png in cells["png"]} == {(MOST_PX, MOST_PX, 3)}


def test_an_image_that_cannot_be_read_any_more_is_left_out_and_named(ledger, tmp_path):
    def gone(name):
        if name.startswith("basophil"):
            raise InputError(f"{name}: gone")
        return photograph(name)

    cells, notes = kept(ledger, tmp_path, gone)
    assert len(cells)
    assert not cells["image"].str.startswith("basophil").any()
    assert any("basophil" in note for note in notes)


def test_images_of_a_new_winner_replace_those_of_the_old(ledger, tmp_path):
    kept(ledger, tmp_path)
    keep_examples(Study(ledger, photograph), "none", 0)
    assert set(ledger.read("cells")["level"].to_pylist()) == {"none"}


def test_a_synthetic_photograph_is_what_was_decoded():
    source = open_source("synthetic", microscope="second", seed=4)
    decoded = source.decode([24])
    for index in (0, len(decoded.names) - 1):
        drawn = source.photograph(decoded.names[index])
        np.testing.assert_array_equal(resize_square(drawn, 24), decoded.pixels[24][index])


def test_a_photograph_of_a_folder_is_what_was_decoded(cells):
    source = open_source(str(cells), microscope="first", seed=0)
    decoded = source.decode([12])
    np.testing.assert_array_equal(resize_square(source.photograph(decoded.names[3]), 12), decoded.pixels[12][3])
    with pytest.raises(InputError, match="nowhere"):
        source.photograph("nowhere.png")
