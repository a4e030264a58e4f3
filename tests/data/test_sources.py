"""A value of --data leads to one place: a path, a published data set, or the copy of a URL."""

import re
import shutil
from pathlib import Path

import fsspec
import pytest
from archives import zipped
from PIL import Image

from search.common.errors import InputError
from search.data.catalogue import CATALOGUE, is_path, published_names
from search.data.reading import Reading
from search.data.sources import located, open_source

GIVEN = {"microscope": "first", "seed": 0}


@pytest.fixture
def said():
    return []


def draw(folder, *names):
    for shade, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (60 + shade, 90, 120)).save(folder / name)
    return folder


@pytest.mark.parametrize("name", CATALOGUE)
def test_entries_say_all_that_a_user_needs(name):
    entry = CATALOGUE[name]
    assert entry.name == name
    for text in (entry.title, entry.licence, entry.citation, entry.by_hand):
        assert text.strip() == text != ""
    assert entry.page.startswith("http")
    # A download has a name, and an archive a pattern, which tells its images from the rest.
    assert (entry.address is None) == (entry.file is None)
    if entry.keep is not None:
        assert entry.file.endswith(".zip")
        assert re.compile(entry.keep).groups >= 1
    if entry.checksum is not None:
        assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", entry.checksum)
    assert all(label == label.strip().lower() for pair in entry.class_names.items() for label in pair)


@pytest.mark.parametrize(
    ("name", "member", "kept"),
    [
        ("pbc", "PBC_dataset_normal_DIB/basophil/BA_100102.jpg", "basophil/BA_100102.jpg"),
        ("pbc", "PBC_dataset_normal_DIB/readme.txt", None),
        ("bccd", "BCCD-73e2/BCCD_cropped/Basophil/BloodImage_00008_1.jpg", "Basophil/BloodImage_00008_1.jpg"),
        ("bccd", "BCCD-73e2/README.md", None),
        ("jtsc", "segmentation_WBC-master/Dataset 1/001.bmp", "001.bmp"),
        ("jtsc", "segmentation_WBC-master/Dataset 1/001.png", None),
        ("jtsc", "segmentation_WBC-master/Dataset 2/001.bmp", None),
    ],
)
def test_images_are_kept_of_an_archive(name, member, kept):
    match = re.fullmatch(CATALOGUE[name].keep, member)
    assert (match and next(filter(None, match.groups()))) == kept


def test_a_published_data_set_is_opened_by_its_name(tmp_path, said):
    """JTSC, whose labels are numbers; and BCCD, whose images are in folders."""
    top = draw(tmp_path / "made", *(f"segmentation_WBC-master/Dataset 1/{k:03d}.bmp" for k in range(1, 5)))
    members = {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*.bmp")}
    members["segmentation_WBC-master/Class Labels of Dataset 1.csv"] = (
        b"image ID,class label\r\n1,1\r\n2,1\r\n3,5\r\n4,5\r\n"
    )
    zipped(tmp_path / CATALOGUE["jtsc"].file, members)
    listing = open_source("jtsc", **GIVEN, data_dir=str(tmp_path), say=said.append).listing
    assert (listing.source, listing.classes) == ("jtsc", ("basophil", "neutrophil"))
    assert listing.labels.tolist() == [1, 1, 0, 0]
    assert CATALOGUE["jtsc"].licence in said[0]
    assert CATALOGUE["jtsc"].citation in said[0]
    names = {"1": "a", "5": "b"}
    own = open_source("jtsc", **GIVEN, reading=Reading(class_names=names), data_dir=str(tmp_path), say=said.append)
    assert own.listing.classes == ("a", "b")
    draw(tmp_path / "bccd", "Basophil/1.jpg", "Basophil/2.jpg", "Monocyte/1.jpg", "Monocyte/2.jpg")
    listing = open_source("bccd", **GIVEN, data_dir=str(tmp_path), say=said.append).listing
    assert listing.classes == ("basophil", "monocyte")


def test_a_folder_of_the_users_own_beats_a_name(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    assert not is_path("pbc")
    draw(tmp_path / "pbc", "ig/1.png", "ig/2.png", "b/1.png", "b/2.png")
    assert located("pbc", str(tmp_path / "data"), said.append) == Path("pbc")
    assert "pbc" in said[0]
    listing = open_source("pbc", **GIVEN, say=said.append).listing
    assert listing.classes == ("b", "ig")  # not the published names
    said.clear()
    assert located("./pbc", None, said.append) == Path("pbc")
    assert said == []


def test_paths_stay_as_they_are(tmp_path, said):
    for path in (tmp_path, tmp_path / "missing", Path("some/folder")):
        assert located(str(path), None, said.append) == path
    assert said == []
    assert published_names(str(tmp_path / "jtsc"), tmp_path / "jtsc") is None


def test_a_misspelt_name_is_told_the_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"pcb: .*pbc, lisc"):
        located("pcb", None, print)


def test_a_url_is_opened_from_its_copy(tmp_path, said):
    images = draw(tmp_path / "cells", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    store = fsspec.filesystem("memory")
    store.put(str(images), "/lab/cells", recursive=True)
    source = open_source("memory://lab/cells", **GIVEN, data_dir=str(tmp_path / "data"), say=said.append)
    local = open_source(str(images), **GIVEN)
    assert source.decode([4]).fingerprint == local.decode([4]).fingerprint
    store.store.clear()
    shutil.rmtree(images)
    assert source.photograph("a/1.png").shape == (6, 6, 3)
