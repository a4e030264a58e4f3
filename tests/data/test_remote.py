"""Copies of remote folders and files: the same files, once."""

import errno
import subprocess
import sys

import fsspec
import numpy as np
import pytest
from archives import zipped
from fsspec.implementations.memory import MemoryFileSystem
from http_server import Site, serving
from s3_server import s3_server

from search.common.errors import InputError
from search.data.remote import mirror

FILES = {f"{kind}/{k:03d}.png": f"{kind} {k}".encode() for kind in ("a", "b", "c/d") for k in range(5)}


@pytest.fixture
def memory():
    """A store with one folder of images, and another folder whose name begins like it."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    for name, content in FILES.items():
        store.pipe_file(f"/lab/cells/{name}", content)
    store.pipe_file("/lab/cells/.hidden/1.png", b"x")
    store.pipe_file("/lab/cells2/1.png", b"x")
    yield store
    store.store.clear()


@pytest.fixture
def said():
    return []


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failure(url, folder):
    with pytest.raises(InputError) as caught:
        mirror(url, folder, say=lambda line: None)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(url)
    return str(caught.value)


def test_a_folder_is_copied_once(memory, tmp_path, said):
    for url in ("memory://lab/cells", "memory://lab/cells"):
        folder = mirror(url, tmp_path, say=said.append)
        assert folder.name == "cells"
        assert contents(folder) == FILES
        memory.store.clear()  # so that the second time nothing is there to copy
    assert "15 of 15 files" in said[0]
    assert str(folder) in said[-1]


def test_urls_with_one_last_name_have_copies_of_their_own(memory, tmp_path, said):
    memory.pipe_file("/other/cells/1.png", b"other")
    first, second = (mirror(f"memory://{lab}/cells", tmp_path, say=said.append) for lab in ("lab", "other"))
    assert first.name == second.name == "cells"
    assert contents(first) == FILES
    assert contents(second) == {"1.png": b"other"}


@pytest.mark.parametrize("refused_from", [1, 8, 15])
def test_a_copy_goes_on_with_what_is_missing(memory, tmp_path, said, monkeypatch, refused_from):
    real, asked = MemoryFileSystem.get_file, []

    def get_file(self, source, target, **options):
        asked.append(source)
        if len(asked) >= refused_from:
            raise ConnectionError("the line is down")
        return real(self, source, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    assert "the line is down" in failure("memory://lab/cells", tmp_path)
    assert not list(tmp_path.rglob("cells"))
    monkeypatch.setattr(MemoryFileSystem, "get_file", real)
    assert contents(mirror("memory://lab/cells", tmp_path, say=said.append)) == FILES
    assert f"{15 - (refused_from - 1)} of 15 files" in said[0]


def test_files_that_have_changed_since_are_copied_again(memory, tmp_path, said, monkeypatch):
    real = MemoryFileSystem.get_file

    def get_file(self, source, target, **options):
        if source.endswith("c/d/004.png"):
            raise ConnectionError
        return real(self, source, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    failure("memory://lab/cells", tmp_path)
    monkeypatch.setattr(MemoryFileSystem, "get_file", real)
    memory.pipe_file("/lab/cells/a/001.png", b"another image")
    memory.rm("/lab/cells/b/002.png")
    expected = FILES | {"a/001.png": b"another image"}
    del expected["b/002.png"]
    assert contents(mirror("memory://lab/cells", tmp_path, say=said.append)) == expected


def test_a_short_file_is_not_taken(memory, tmp_path, monkeypatch):
    def get_file(self, source, target, **options):
        with open(target, "wb") as file:  # noqa: PTH123
            file.write(self.cat_file(source)[:2])

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    assert "bytes" in failure("memory://lab/cells", tmp_path)
    assert not [path for path in tmp_path.rglob("*.png") if not path.name.startswith(".")]


def test_a_full_disk_is_told(memory, tmp_path, monkeypatch):
    def get_file(self, source, target, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    with pytest.raises(InputError, match="--data-dir"):
        mirror("memory://lab/cells", tmp_path, say=lambda line: None)


def test_names_that_lead_out_are_refused(memory, tmp_path):
    memory.store["/lab/cells/../../out.png"] = memory.store["/lab/cells/a/000.png"]
    assert "out.png" in failure("memory://lab/cells", tmp_path)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    "url", ["memory://lab/none", "memory://", "nothing://lab/cells", "memory://lab/..", "memory://lab/none.zip"]
)
def test_urls_without_images_are_refused(memory, tmp_path, url):
    failure(url, tmp_path)


MIRROR = """
import pathlib, sys
sys.modules["s3fs"] = None  # as if it were not installed
from search.common.errors import InputError
from search.data.remote import mirror
try:
    mirror("s3://lab/cells", pathlib.Path(sys.argv[1]), say=print)
except InputError as error:
    print(error)
"""


def test_a_missing_package_is_named(tmp_path):
    done = subprocess.run([sys.executable, "-c", MIRROR, tmp_path], capture_output=True, text=True, timeout=300)
    assert "pip install 'wbc-search[cloud]'" in done.stdout, done.stderr


def test_archives_and_arrays_of_a_store_are_copied(memory, tmp_path, said):
    archive = zipped(tmp_path / "cells.zip", {f"wrapped/once/{name}": data for name, data in FILES.items()})
    memory.pipe_file("/lab/cells.zip", archive.read_bytes())
    memory.pipe_file("/lab/cells.npz", b"arrays")
    folder = mirror("memory://lab/cells.zip", tmp_path, say=said.append)
    assert contents(folder) == FILES
    path = mirror("memory://lab/cells.npz", tmp_path, say=said.append)
    assert (path.name, path.read_bytes()) == ("cells.npz", b"arrays")


def test_archives_and_arrays_of_the_web_are_downloaded(tmp_path, said):
    archive = zipped(tmp_path / "made.zip", FILES).read_bytes()
    with serving(Site(files={"x/cells.zip": archive, "cells.npz": b"arrays", "page.html": b"<html>"})) as site:
        for _ in range(2):
            folder = mirror(site.url("x/cells.zip?download=1"), tmp_path / "data", say=said.append)
            assert (folder.name, contents(folder)) == ("cells", FILES)
            path = mirror(site.url("cells.npz"), tmp_path / "data", say=said.append)
            assert path.read_bytes() == b"arrays"
        assert len(site.asked) == 2
        assert ".zip" in failure(site.url("page.html"), tmp_path)
        assert "404" in failure(site.url("other.zip"), tmp_path)
        site.files["bad.zip"] = b"<html>"
        with pytest.raises(InputError, match=r"bad\.zip"):
            mirror(site.url("bad.zip"), tmp_path, say=said.append)
        site.files["bad.zip"] = archive
        assert contents(mirror(site.url("bad.zip"), tmp_path, say=said.append)) == FILES


# A server that speaks S3


@pytest.fixture
def bucket(monkeypatch):
    with s3_server(monkeypatch) as client:
        client.create_bucket(Bucket="lab")
        for name, content in FILES.items():
            client.put_object(Bucket="lab", Key=f"cells/{name}", Body=content)
        client.put_object(Bucket="lab", Key="cells/", Body=b"")  # as consoles mark a folder
        client.put_object(Bucket="lab", Key="cells2/1.png", Body=b"x")
        yield client


def test_a_bucket_is_copied(bucket, tmp_path, said):
    folder = mirror("s3://lab/cells", tmp_path, say=said.append)
    assert contents(folder) == FILES
    assert "15 of 15" in said[0]
    big = np.random.default_rng(0).bytes(6_000_000)
    bucket.put_object(Bucket="lab", Key="cells.npz", Body=big)
    assert mirror("s3://lab/cells.npz", tmp_path, say=said.append).read_bytes() == big
    assert "no such" in failure("s3://lab/other", tmp_path)
    assert "no such" in failure("s3://elsewhere/cells", tmp_path)
