"""Downloads end complete and verified under their final name, or not there at all."""

import dataclasses
import hashlib
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from archives import zipped
from filelock import FileLock
from http_server import Site, serving

from search.common.errors import InputError
from search.data import download as downloads
from search.data.catalogue import CATALOGUE
from search.data.download import BLOCK_BYTES, data_folder, download, fetch

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    with serving(Site(files={"cells.bin": CONTENT})) as site:
        yield site


@pytest.fixture
def said():
    return []


def failure(call, *arguments, **options):
    """The one line of the error."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def spans(site):
    return [span for _, span in site.asked]


def test_a_file_is_downloaded_once(site, tmp_path, said):
    path = tmp_path / "cells.bin"
    for _ in range(2):
        download(site.url("cells.bin"), path, say=said.append)
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    assert len(site.asked) == len(said) == 1
    assert "0.3 MB" in said[0]


@pytest.mark.parametrize("cuts", [[1], [100_000], [100_000, 70_000], [299_999]])
def test_a_download_goes_on_where_it_was_cut_off(site, tmp_path, said, cuts):
    site.cut_at = list(cuts)
    download(site.url("cells.bin"), tmp_path / "x", say=said.append)
    assert (tmp_path / "x").read_bytes() == CONTENT
    kept = np.cumsum([cut // BLOCK_BYTES * BLOCK_BYTES for cut in cuts])
    assert spans(site) == [None, *(f"bytes={n}-" if n else None for n in kept)]


def test_a_later_command_goes_on_as_well(site, tmp_path, said, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    site.cut_at = [120_000]
    message = failure(download, site.url("cells.bin"), tmp_path / "x", say=said.append)
    assert site.url("cells.bin") in message
    assert "0.1 MB" in message
    assert not (tmp_path / "x").exists()
    download(site.url("cells.bin"), tmp_path / "x", say=said.append)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert spans(site) == [None, f"bytes={BLOCK_BYTES}-"]


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"ranges": False}), ({}, {"etag": '"two"'}), ({"etag": None}, {}), ({"etag": 'W/"weak"'}, {})],
)
def test_it_starts_again_where_it_cannot_go_on(site, tmp_path, said, monkeypatch, before, after):
    """A server without ranges, and a file that is or may be another one by now."""
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    vars(site).update(before, cut_at=[120_000])
    failure(download, site.url("cells.bin"), tmp_path / "x", say=said.append)
    vars(site).update(after)
    site.files["cells.bin"] = CONTENT[::-1]
    download(site.url("cells.bin"), tmp_path / "x", say=said.append)
    assert (tmp_path / "x").read_bytes() == CONTENT[::-1]


def test_a_download_that_only_lacked_its_name_is_not_repeated(site, tmp_path, said):
    (tmp_path / ".x.partial").write_bytes(CONTENT)
    (tmp_path / ".x.version").write_text('"one"')
    download(site.url("cells.bin"), tmp_path / "x", say=said.append)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert spans(site) == ["bytes=300000-"]


def test_a_file_of_unknown_length_is_downloaded(site, tmp_path, said):
    site.lengths = False
    download(site.url("cells.bin"), tmp_path / "x", say=said.append, size_bytes=len(CONTENT))
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_only_the_published_file_is_kept(site, tmp_path, said, kind):
    right = hashlib.new(kind, CONTENT).hexdigest()
    site.files["cells.bin"] = CONTENT[:-1] + b"?"
    message = failure(download, site.url("cells.bin"), tmp_path / "x", say=said.append, checksum=f"{kind}:{right}")
    assert right in message
    assert hashlib.new(kind, CONTENT[:-1] + b"?").hexdigest() in message
    assert list(tmp_path.iterdir()) == []
    message = failure(download, site.url("cells.bin"), tmp_path / "x", say=said.append, size_bytes=300_001)
    assert "300000" in message
    assert "300001" in message
    site.files["cells.bin"] = CONTENT
    download(site.url("cells.bin"), tmp_path / "x", say=said.append, checksum=f"{kind}:{right}")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_missing_file_and_a_missing_network_are_told(site, tmp_path, said):
    assert "404" in failure(download, site.url("other"), tmp_path / "x", say=said.append)
    closed = "http://127.0.0.1:1/cells.bin"
    assert failure(download, closed, tmp_path / "x", say=said.append).startswith(closed)
    assert list(tmp_path.iterdir()) == []


# Published data sets


@pytest.fixture
def entry(site):
    """JTSC as it is published, on the test's server: images next to their masks, below a label file."""
    entry = CATALOGUE["jtsc"]
    return dataclasses.replace(entry, address=site.url("master.zip"), n_images=2)


@pytest.fixture
def archive(tmp_path):
    top = "segmentation_WBC-master"
    members = {
        f"{top}/Class Labels of Dataset 1.csv": b"image ID,class label\n1,1\n2,2\n",
        f"{top}/Class Labels of Dataset 2.csv": b"image ID,class label\n1,1\n",
        f"{top}/Dataset 1.png": b"overview",
        f"{top}/Dataset 1/001.bmp": b"one",
        f"{top}/Dataset 1/001.png": b"mask",
        f"{top}/Dataset 1/002.bmp": b"two",
        f"{top}/Dataset 2/001.bmp": b"other",
    }
    return zipped(tmp_path / "made.zip", members).read_bytes()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


UNPACKED = ["001.bmp", "002.bmp", "Class Labels of Dataset 1.csv"]


def test_a_published_archive_becomes_a_folder_that_can_be_read(site, entry, archive, tmp_path, said):
    site.files["master.zip"], site.cut_at = archive, [200]
    data_dir = tmp_path / "data" / "sets"
    for _ in range(2):
        folder = fetch(entry, data_dir, say=said.append)
        assert folder == data_dir / "jtsc"
        assert names(folder) == UNPACKED
    assert len(site.asked) == 2
    assert [name for name in names(data_dir) if not name.endswith(".lock")] == ["jtsc"]


def test_what_was_fetched_by_hand_is_used(site, entry, archive, tmp_path, said):
    (tmp_path / "a" / "jtsc").mkdir(parents=True)
    (tmp_path / "a" / "jtsc" / "1.bmp").write_bytes(b"one")
    assert names(fetch(entry, tmp_path / "a", say=said.append)) == ["1.bmp"]
    (tmp_path / "b" / "jtsc").mkdir(parents=True)  # an empty folder is not a data set
    (tmp_path / "b" / entry.file).write_bytes(archive)
    assert names(fetch(entry, tmp_path / "b", say=said.append)) == UNPACKED
    assert (tmp_path / "b" / entry.file).exists()
    assert site.asked == []


def test_another_number_of_images_than_published_is_told(site, entry, archive, tmp_path, said):
    site.files["master.zip"] = archive
    fetch(dataclasses.replace(entry, n_images=300), tmp_path, say=said.append)
    assert any("2 images" in line and "300" in line for line in said)
    said.clear()
    fetch(entry, tmp_path / "again", say=said.append)
    assert not any("published" in line for line in said)


def test_a_bad_archive_is_downloaded_again(site, entry, archive, tmp_path, said):
    for bad in (b"<html>log in</html>", archive[: len(archive) // 2]):
        site.files["master.zip"] = bad
        message = failure(fetch, entry, tmp_path / "data", say=said.append)
        assert entry.page in message
        assert entry.file in message
        assert not (tmp_path / "data" / "jtsc").exists()
    site.files["master.zip"] = archive
    assert names(fetch(entry, tmp_path / "data", say=said.append)) == UNPACKED


def test_an_npz_file_is_kept_as_it_is(site, tmp_path, said):
    checksum = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    entry = dataclasses.replace(CATALOGUE["bloodmnist"], address=site.url("cells.bin"), checksum=checksum)
    path = fetch(entry, tmp_path, say=said.append)
    assert path == tmp_path / "bloodmnist.npz"
    assert path.read_bytes() == CONTENT
    wrong = dataclasses.replace(entry, checksum="md5:0")
    assert "md5" in failure(fetch, wrong, tmp_path / "other", say=said.append)


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.address is None])
def test_what_has_no_direct_download_says_what_to_do_by_hand(tmp_path, said, name):
    message = failure(fetch, CATALOGUE[name], tmp_path, say=said.append)
    assert CATALOGUE[name].page in message
    assert str(tmp_path / name) in message


def test_a_full_disk_is_told(site, tmp_path, said, monkeypatch):
    """The partial file is kept: it is what the next command goes on from."""
    (tmp_path / ".x.partial").symlink_to("/dev/full")
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # or it would be replaced by a file with room
    with pytest.raises(InputError, match="--data-dir"), downloads.writing_to(tmp_path):
        download(site.url("cells.bin"), tmp_path / "x", say=said.append)


def test_a_data_folder_that_cannot_be_made_is_told(entry, tmp_path, said):
    (tmp_path / "file").write_bytes(b"")
    message = failure(fetch, entry, tmp_path / "file" / "data", say=said.append)
    assert str(tmp_path / "file") in message


def test_two_processes_do_not_fetch_the_same(site, entry, archive, tmp_path, said):
    site.files["master.zip"] = archive
    waiting = threading.Event()

    def say(line):
        said.append(line)
        waiting.set()

    with FileLock(tmp_path / ".jtsc.lock"):
        second = threading.Thread(target=fetch, args=(entry, tmp_path), kwargs={"say": say})
        second.start()
        assert waiting.wait(30)
        assert site.asked == []
        (tmp_path / "jtsc").mkdir()
        (tmp_path / "jtsc" / "1.bmp").write_bytes(b"by the first")
    second.join(30)
    assert names(tmp_path / "jtsc") == ["1.bmp"]
    assert site.asked == []
    assert str(tmp_path / ".jtsc.lock") in said[0]


def test_the_data_folder_is_the_users_own_unless_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data_folder("sets") == tmp_path / "sets"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert re.search("wbc-search", str(data_folder(None)))
