"""Archives are unpacked as a whole or not at all, and nothing gets out of their folder."""

import stat
import tarfile
import zipfile

import pytest
from archives import tarred, zipped

from search.data.unpack import ALWAYS_ALLOWED_BYTES, BadArchiveError, unpack


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path):
    """A folder for one archive and what is unpacked from it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def refused(archive):
    """The error's message; nothing is left of the archive's content, in its folder or next to it."""
    folder, around = archive.parent, set(archive.parent.parent.iterdir())
    with pytest.raises(BadArchiveError) as caught:
        unpack(archive, folder / "cells")
    assert str(caught.value).startswith(str(archive))
    assert list(folder.iterdir()) == [archive]
    assert set(folder.parent.iterdir()) == around
    return str(caught.value)


CELLS = {"set/a/1.png": b"one", "set/b/2.png": b"two", "set/b/mask.gif": b"no"}


@pytest.mark.parametrize(
    "make",
    [
        lambda path: zipped(path, CELLS),
        lambda path: zipped(path, CELLS, zipfile.ZIP_LZMA),
        *(lambda path, mode=mode: tarred(path, CELLS, mode) for mode in ("w", "w:gz", "w:bz2", "w:xz")),
    ],
)
def test_wanted_files_of_any_archive_lie_where_they_belong(place, make):
    archive = make(place / "x.bin")
    assert unpack(archive, place / "cells", keep=r"set/([^/]+/.*\.png)") == 2
    assert contents(place / "cells") == {"a/1.png": b"one", "b/2.png": b"two"}
    assert unpack(archive, place / "all") == 3
    assert contents(place / "all") == CELLS


def test_what_systems_leave_behind_is_left_out(place):
    junk = {"__MACOSX/set/a/._1.png": b"x", "set/.DS_Store": b"x", "set/a/.hidden.png": b"x"}
    unpack(zipped(place / "x.zip", CELLS | junk), place / "cells")
    assert contents(place / "cells") == CELLS


def test_a_folder_written_by_windows(place):
    unpack(zipped(place / "x.zip", {"set\\a\\1.png": b"one"}), place / "cells")
    assert contents(place / "cells") == {"set/a/1.png": b"one"}


OUTSIDE = ("../out.png", "a/../../out.png", "/tmp/out-of-the-archive.png", "..\\..\\out.png", "C:\\out.png", "..")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_paths_that_lead_out_are_refused(place, pack, name):
    assert repr(name).strip("'").split("\\")[-1] in refused(pack(place / "x.bin", CELLS | {name: b"evil"}))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
@pytest.mark.parametrize("target", ["/etc/passwd", "../../out", "set/a/1.png"])
def test_links_and_devices_in_tars_are_refused(place, kind, target):
    archive = tarred(place / "x.tar", {"set/link": b""}, "w", type=kind, linkname=target)
    assert "set/link" in refused(archive)


def test_links_in_zips_are_refused(place):
    link = zipfile.ZipInfo("set/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(place / "x.zip", "w") as file:
        file.writestr(link, "/etc")
        file.writestr("set/link/evil.png", b"evil")
    assert "set/link" in refused(place / "x.zip")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_bombs_are_refused_before_they_go_off(place, pack):
    archive = pack(place / "x.bin", {"set/a/0.png": bytes(ALWAYS_ALLOWED_BYTES + 1)})
    assert archive.stat().st_size < ALWAYS_ALLOWED_BYTES / 100
    assert "unpacks to more" in refused(archive)


def test_a_zip_that_understates_its_size_is_refused(place):
    archive = zipped(place / "x.zip", {"set/a/0.png": bytes(10_000)})
    told = archive.read_bytes().replace((10_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(told)
    refused(archive)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_damage_is_refused(place, pack):
    whole = pack(place / "x.bin", {"set/a/1.png": bytes(range(256)) * 400}).read_bytes()
    for damaged in (b"", b"<html>log in</html>", whole[: len(whole) // 2], b"PK\x03\x04" + whole[9:]):
        (place / "x.bin").write_bytes(damaged)
        refused(place / "x.bin")


def test_a_path_may_occur_only_once(place):
    assert "twice" in refused(tarred(place / "x.tar", {"a/1.png": b"1", "./a/1.png": b"2"}, "w"))


def test_an_archive_without_a_wanted_file_is_refused(place):
    archive = zipped(place / "x.zip", CELLS)
    with pytest.raises(BadArchiveError):
        unpack(archive, place / "cells", keep=r"other/(.*)")
    assert list(place.iterdir()) == [archive]
