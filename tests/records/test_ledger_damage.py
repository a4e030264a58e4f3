"""Tests of search.records.ledger: a journal that is damaged, and a disk that is full."""

import io
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from search.common.errors import InputError, StudyFailedError
from search.common.files import replace_file
from search.records.journal import JOURNAL
from search.records.ledger import Ledger
from search.records.schema import OPTIONAL, TABLES, Key

ALWAYS = tuple(name for name in TABLES if name not in OPTIONAL)


def fill(ledger):
    """Two trials of three folds: fourteen lines of the journal."""
    for number in range(2):
        key = Key(phase="search", number=number, level="1+2", data="synthetic", seed=0)
        for fold in range(3):
            own = {**asdict(key), "repeat": 0, "fold": fold}
            ledger.add("epochs", own, {"epoch": [1, 2], "lr": [0.1, 0.0]})
            ledger.add_row("folds", own, {"n_train": 10, "accuracy": 0.5})
        ledger.add_row("trials", asdict(key), {"state": "COMPLETE", "value": 0.5})


def rows_of(ledger):
    return {name: ledger.read(name).to_pylist() for name in TABLES}


def journal(folder):
    return (folder / JOURNAL).read_bytes()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or "partial" in path.name]


@pytest.fixture
def filled(tmp_path):
    """A folder with a ledger in it that was filled and closed."""
    ledger = Ledger(tmp_path)
    fill(ledger)
    ledger.close()
    return tmp_path


# The journal


@pytest.mark.parametrize("cut", [1, 2, 10, 40])
def test_cut_off_last_line_is_dropped_and_the_file_is_mended(open_ledger, filled, cut):
    path = filled / JOURNAL
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole[:-cut])
    ledger = open_ledger()
    assert path.read_bytes() == b"".join(lines[:-1])
    assert (ledger.read("trials").num_rows, ledger.read("folds").num_rows) == (1, 6)
    ledger.add_row("folds", asdict(Key(phase="test")), {"n_train": 1})
    ledger.close()
    again = open_ledger()
    assert again.read("folds").num_rows == 7
    again.close()


DAMAGE = [
    *(b"{oops\n", b"\n", b"\xff\xfe\n", b"\x00\x00\n", b"[]\n", b"5\n", b"null\n", b"{}\n", b'{"do": "add"}\n'),
    *(b'{"do": "forget"}\n', b'{"do": "add", "table": "nonsense", "key": {}, "columns": {"n_val": [1]}}\n'),
    b'{"do": "add", "table": "folds", "key": {}, "columns": {"n_val": ["x"]}}\n',
    b'{"do": "add", "table": "folds", "key": {}, "columns": {"n_val": [1], "n_train": [1, 2]}}\n',
    b'{"do": "add", "table": "folds", "key": {}, "columns": {}}\n',
    b'{"do": "add", "table": "folds", "key": [], "columns": {"n_val": [1]}}\n',
    b'{"do": "replace", "table": "folds", "rows": "text"}\n',
    b"[" * 100_000 + b"\n",
    b'{"do": "add",\r "table": "folds", "key": {}, "columns": {"n_\xff": [1]}}\n',
]


def damage(folder, line, junk):
    """Put junk in place of a line; returns the lines before it and the whole journal."""
    lines = journal(folder).splitlines(keepends=True)
    before, whole = b"".join(lines[: line - 1]), b"".join([*lines[: line - 1], junk, *lines[line:]])
    (folder / JOURNAL).write_bytes(whole)
    return before, whole


@pytest.mark.parametrize("junk", DAMAGE, ids=lambda junk: repr(junk[:60]))
def test_damaged_line_is_named_and_nothing_is_changed(filled, junk):
    _, whole = damage(filled, 3, junk)
    with pytest.raises(InputError) as caught:
        Ledger(filled)
    assert str(caught.value).startswith(f"{filled / JOURNAL}: line 3 is damaged")
    assert "--force" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert journal(filled) == whole
    assert not (filled / f"{JOURNAL}.damaged").exists()


@pytest.mark.parametrize("line", [1, 2, 7, 14])
@pytest.mark.parametrize("junk", DAMAGE[:4], ids=repr)
def test_damage_can_be_cut_off_and_the_ledger_works_on(open_ledger, filled, line, junk):
    before, whole = damage(filled, line, junk)
    ledger = open_ledger(cut_damage=True)
    assert journal(filled) == before
    assert (filled / f"{JOURNAL}.damaged").read_bytes() == whole
    assert sum(len(rows) for rows in rows_of(ledger).values()) >= line - 1
    fill(ledger)
    ledger.close()
    again = open_ledger()  # without any force
    assert rows_of(again) == rows_of(ledger)
    for name in ALWAYS:
        assert pq.read_table(filled / f"{name}.parquet").equals(again.read(name))


# The disk


def test_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    original = Path.open

    def refuse(path, mode="r", *args, **options):
        if "r" not in mode:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StudyFailedError) as caught:
        Ledger(tmp_path)
    assert str(caught.value) == f"{tmp_path}: Permission denied"


def full_disk(*args, **options):
    raise OSError(28, "No space left on device")


def test_failed_write_leaves_no_partial_file(tmp_path):
    def half(partial):
        partial.write_bytes(b"half")
        full_disk()

    with pytest.raises(StudyFailedError):
        replace_file(tmp_path / "x.json", half)
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.FileIO):
    """A file on a disk with room for a few bytes more."""

    room = 10

    def write(self, data):
        if not self.room:
            full_disk()
        written = super().write(data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def on_full_disk(open_ledger, filled):
    """A ledger whose journal cannot grow."""
    ledger = open_ledger()
    ledger.flush()
    ledger._journal._file.close()
    raw = FullDisk(filled / JOURNAL, "a")
    ledger._journal._file = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8")
    yield ledger
    raw.room = 1_000_000


def test_full_disk_leaves_what_was_there(on_full_disk, open_ledger, filled):
    before = rows_of(on_full_disk)
    with pytest.raises(StudyFailedError) as caught:
        fill(on_full_disk)
    assert str(caught.value) == f"{filled / JOURNAL}: No space left on device"
    assert rows_of(on_full_disk) == before
    for name in ALWAYS:
        assert pq.read_table(filled / f"{name}.parquet").to_pylist() == before[name]
    # The piece of a line that had room is dropped.
    assert rows_of(open_ledger()) == before


def test_full_disk_at_every_write_leaves_readable_tables(open_ledger, filled, monkeypatch):
    ledger = open_ledger()
    before = rows_of(ledger)
    ledger.add_row("epochs", asdict(Key(phase="test")), {"epoch": 1})
    for name in ("os.fsync", "pathlib.Path.replace", "search.common.files.pq.write_table"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full_disk)
            with pytest.raises(StudyFailedError) as caught:
                ledger.flush()
        assert str(caught.value).startswith(f"{filled}/")
        assert str(caught.value).endswith(": No space left on device")
        assert hidden(filled) == []
        for table in ALWAYS:
            assert pq.read_table(filled / f"{table}.parquet").to_pylist() == before[table]
    ledger.close()  # with room again, nothing is missing
    assert pq.read_table(filled / "epochs.parquet").num_rows == len(before["epochs"]) + 1
