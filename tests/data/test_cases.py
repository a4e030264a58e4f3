"""Folders of real cells, laid out and encoded as people's are: read as what they are, or refused."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import InputError
from search.data.folder import open_folder
from search.data.given import unlearnable_classes
from search.data.reading import Reading

MAKE = Path(__file__).parents[3] / "shared" / "cases" / "make.py"
CLASSES = ("basophil", "eosinophil", "lymphocyte")

pytestmark = pytest.mark.skipif(not MAKE.is_file(), reason="the cases are not beside this project")


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("made_cases", MAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(case, folder):
        if case in ("forty_classes", "composed_classes", "latin1_folder"):
            folder.mkdir()
        module.CASES[case](folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("case", "n_images"),
    [
        ("running_number", 12),
        ("row_names", 12),
        ("images_and_table", 12),
        ("patients_table", 18),
        ("alpha_zero", 24),
        ("channel_pages", 18),
        ("composed_ids", 12),
        ("missing_labels", 15),
        ("comment_line", 12),
        ("copies", 32),
        ("pipe", 18),
    ],
)
def test_what_is_certain_is_read(make, tmp_path, case, n_images):
    images = open_folder(make(case, tmp_path / case)).decode([16])
    assert images.classes == CLASSES
    assert len(images.names) == n_images
    # Black or white images would be those of a wrong scale or of a hidden cell.
    assert images.pixels[16].mean(axis=(1, 2, 3)).min() > 60
    assert images.pixels[16].std(axis=(1, 2, 3)).min() > 5


@pytest.mark.parametrize("case", ["running_number", "row_names"])
def test_every_image_has_the_label_of_its_own_row(make, tmp_path, case):
    listing = open_folder(make(case, tmp_path / case)).listing
    for name, label in zip(listing.names, listing.labels, strict=True):
        assert listing.classes[label] == CLASSES[(int(name.removesuffix(".png")) - 1) % 3]


@pytest.mark.parametrize(
    ("case", "named"),
    [
        ("split_folders", "--layout split/class"),
        ("fold_folders", "--layout split/class"),
        ("patient_folders", r"--layout group/\*/class"),
        ("split_tables", "--layout split/table"),
        ("masks_below", r"--exclude '\*/masks/\*'"),
        ("mask_pairs", r"--exclude '\*_mask\.\*'"),
        ("latin1_folder", "bas.xf3filo"),
        ("double_labels", "several labels"),
        ("float_scales", "negative"),
        ("two_labels", "eosinophil/b000.png"),
    ],
)
def test_what_contradicts_itself_is_refused(make, tmp_path, case, named):
    folder = make(case, tmp_path / case)
    with pytest.raises(InputError, match=named):
        open_folder(folder).decode([16])


def test_names_that_look_alike_are_one_class(make, tmp_path):
    listing = open_folder(make("composed_classes", tmp_path / "x")).listing
    assert len(listing.classes) == 4
    assert sum(bool(re.search("filo$", name)) for name in listing.classes) == 1


def test_groups_that_are_classes_are_refused(make, tmp_path):
    listing = open_folder(make("group_is_class", tmp_path / "x"), Reading(groups="^[^/]+")).listing
    with pytest.raises(InputError):
        unlearnable_classes(listing)


def test_copies_are_in_one_group(make, tmp_path):
    images = open_folder(make("copies", tmp_path / "x")).decode([16])
    group_of = dict(zip(images.names, images.groups.tolist(), strict=True))
    for number in range(4):
        assert len({group_of[f"basophil/{prefix}{number:03d}.png"] for prefix in ("", "copy0_", "copy1_")}) == 1
    assert len(np.unique(images.groups)) == 24


def test_forty_classes_are_read(make, tmp_path):
    assert len(open_folder(make("forty_classes", tmp_path / "x")).listing.classes) == 40
