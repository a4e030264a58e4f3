"""Tests of search.records.checkpoints: one file for a training, whatever its level is called."""

import itertools
import os
from dataclasses import replace

import pytest

from search.common.errors import StudyFailedError
from search.records.checkpoints import CheckpointFolder
from search.records.schema import Key

KEY = Key(phase="compare", level="1+2", setting=0, data="synthetic", repeat=0, seed=7, fold=3)
LEVELS = (
    *("1", "1+2", "none", "a/b", "a\\b", "..", ".", "../../up", "/root", ".hidden", "a b", "ä", "白血球", "a\nb"),
    *("", "%", "%2F", "a%2Fb", "*", "?", "[x]", "~", "CON", "a_b", "_", "a__b", "tuned", "_tuned", "a\0b"),
)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """These tests write hundreds of files, and no power fails while they run."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def files(tmp_path):
    """Every file below, so that none outside the checkpoints' own folder goes unseen."""
    return sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_what_is_kept_is_loaded_until_it_is_removed(folder):
    assert folder.load(KEY) is None
    folder.keep(KEY, b"one")
    assert folder.load(KEY) == b"one"
    folder.keep(KEY, b"another")
    assert folder.load(KEY) == b"another"
    folder.remove(KEY)
    assert folder.load(KEY) is None
    folder.remove(KEY)


@pytest.mark.parametrize(
    "level",
    [*LEVELS, "白" * 40],
    ids=repr,
)
def test_any_level_name_is_a_file_in_the_folder(folder, tmp_path, level):
    key = replace(KEY, level=level)
    folder.keep(key, level.encode())
    assert folder.load(key) == level.encode()
    assert [path.parent for path in files(tmp_path)] == [tmp_path / "checkpoints"]
    folder.remove(key)
    assert files(tmp_path) == []


def keys():
    """Trials and trainings as studies have them, with all kinds of names."""
    for level in LEVELS:
        for number in (0, 1, 10):
            yield Key(phase="search", number=number, level=level, data="d", seed=0)
            for fold in (0, 1):
                yield Key(phase="confirm", number=number, level=level, data="d", repeat=0, fold=fold)
        for setting, repeat, fold in itertools.product((0, 1), (0, 1), (0, 1, 10)):
            yield Key(phase="compare", level=level, setting=setting, data="d", repeat=repeat, fold=fold)
        yield Key(phase="test", level=level, setting=0, way="scratch", data="d")
        for way in ("scratch", "frozen", "fine_tuned"):
            yield Key(phase="transfer", level=level, setting=0, way=way, data="d", repeat=0, fold=0)


def test_no_two_trainings_share_a_file(folder, tmp_path):
    every = list(keys())
    for number, key in enumerate(every):
        folder.keep(key, str(number).encode())
    assert len(files(tmp_path)) == len(every)
    for number, key in enumerate(every):
        assert folder.load(key) == str(number).encode()


def full_disk(*args, **options):
    raise OSError(28, "No space left on device")


def test_the_old_one_stands_when_the_disk_is_full(folder, tmp_path, monkeypatch):
    folder.keep(KEY, b"old")
    (file,) = files(tmp_path)
    for name in ("os.fsync", "pathlib.Path.write_bytes", "pathlib.Path.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full_disk)
            with pytest.raises(StudyFailedError) as caught:
                folder.keep(KEY, b"new")
        assert str(caught.value) == f"{file}: No space left on device"
        assert folder.load(KEY) == b"old"
        assert files(tmp_path) == [file]


def test_clear_removes_all_and_whatever_is_half_written(folder, tmp_path):
    for fold in range(3):
        folder.keep(replace(KEY, fold=fold), b"x")
    (whole, *_) = files(tmp_path)
    whole.with_name(f".{whole.name}.partial").write_bytes(b"ha")
    beside = tmp_path / "beside"
    beside.write_bytes(b"x")
    folder.clear()
    assert files(tmp_path) == [beside]
    folder.clear()
    assert folder.load(KEY) is None
    folder.keep(KEY, b"x")
    assert folder.load(KEY) == b"x"
