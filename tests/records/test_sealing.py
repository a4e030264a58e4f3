"""Tests of search.records.ledger, parts and sealed: what grows leaves memory and journal, and nothing is lost."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import search.records.ledger
from search.common.errors import InputError
from search.records.journal import JOURNAL
from search.records.ledger import Ledger
from search.records.schema import GROWING, TABLES, Key
from search.records.sealed import SEALED
from search.records.tables import read_table

PART_ROWS = 24
N_IMAGES, N_EPOCHS = 5, 3


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(search.records.ledger, "PART_ROWS", PART_ROWS)
    monkeypatch.setattr(search.records.ledger, "FLUSH_EVERY_S", 0.0)
    monkeypatch.setattr(search.records.ledger, "_WRITING_SHARE", float("inf"))


def key_of_trial(number):
    return Key(phase="search", number=number, level="1+2", setting=number, data="cells", seed=0)


def key_of_training(fold, level="1"):
    return Key(phase="compare", level=level, setting=0, data="cells", repeat=0, seed=fold, fold=fold)


def train(ledger, key, classes=("x", "y"), folds=2):
    """Enter what a trial or a training leaves on record."""
    is_trial = key.number is not None
    keys = [replace(key, repeat=0, fold=fold) for fold in range(folds)] if is_trial else [key]
    for own in map(asdict, keys):
        for epoch in range(1, N_EPOCHS + 1):
            ledger.add_row("epochs", own, {"epoch": epoch, "lr": 0.1 / epoch})
        columns = {"image": [f"{n}.png" for n in range(N_IMAGES)], "label": ["x"] * N_IMAGES}
        columns |= {"predicted": ["x"] * N_IMAGES} | {f"probability_{name}": [0.5] * N_IMAGES for name in classes}
        ledger.add("predictions", own, columns)
        ledger.add_row("folds", own, {"n_train": 10, "n_val": N_IMAGES})


def end(ledger, key):
    ledger.add_row("trials", asdict(key), {"state": "COMPLETE", "value": 0.5, "params_lr": 0.1})


def settle(ledger):
    """What happens every few seconds."""
    ledger.flush_if_due()
    ledger.flush()


def rows_of(ledger):
    return {name: in_order(ledger.read(name).to_pylist()) for name in TABLES}


def in_order(rows):
    """Rows without the columns that are null, in an order that does not depend on that of the files."""
    return sorted(repr({name: value for name, value in row.items() if value is not None}) for row in rows)


def on_disk(folder):
    return {name: in_order(pq.read_table(folder / f"{name}.parquet").to_pylist()) for name in GROWING}


@pytest.fixture
def sealed(open_ledger, tmp_path):
    """A ledger with several parts, and rows that are not sealed."""
    ledger = open_ledger()
    for number in range(12):
        train(ledger, key_of_trial(number))
        end(ledger, key_of_trial(number))
        settle(ledger)
    for fold in range(3):
        train(ledger, key_of_training(fold))
    settle(ledger)
    train(ledger, key_of_trial(12), folds=1)  # it runs
    settle(ledger)
    assert len(list((tmp_path / "predictions.parquet").iterdir())) > 3
    return ledger


def test_a_small_table_is_one_file(open_ledger, tmp_path):
    ledger = open_ledger()
    train(ledger, key_of_trial(0), folds=1)
    settle(ledger)
    assert all((tmp_path / f"{name}.parquet").is_file() for name in GROWING)
    assert not (tmp_path / SEALED).exists()


def test_what_is_written_reads_as_before(sealed, tmp_path):
    expected = {name: len(sealed.read(name)) for name in GROWING}
    assert expected == {"predictions": (24 + 3 + 1) * N_IMAGES, "epochs": (24 + 3 + 1) * N_EPOCHS}
    assert on_disk(tmp_path) == {name: rows_of(sealed)[name] for name in GROWING}
    for name in GROWING:
        path = tmp_path / f"{name}.parquet"
        assert (
            len(pd.read_parquet(path))
            == len(pl.read_parquet(path))
            == len(pl.scan_parquet(path).collect())
            == expected[name]
        )
        assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(expected[name],)]
        assert len(pq.read_table(path)) == len(read_table(tmp_path, name)) == expected[name]
        without = read_table(tmp_path, name, without="search")
        assert set(without["phase"]) == {"compare"}
        assert len(without) == 3 * {"predictions": N_IMAGES, "epochs": N_EPOCHS}[name]


def test_journal_and_memory_hold_only_what_is_not_sealed(sealed, open_ledger, tmp_path):
    size = (tmp_path / JOURNAL).stat().st_size
    for number in range(20, 60):
        train(sealed, key_of_trial(number))
        end(sealed, key_of_trial(number))
        settle(sealed)
    assert (tmp_path / JOURNAL).stat().st_size < 4 * size
    assert len(list((tmp_path / SEALED).iterdir())) == 1
    assert all(len(sealed._held[name]) < 4 * PART_ROWS for name in GROWING)
    assert rows_of(open_ledger()) == rows_of(sealed)


def test_a_sealed_file_never_changes(sealed, tmp_path):
    def files():
        return {path: path.read_bytes() for path in (tmp_path / "predictions.parquet").iterdir()}

    before = files()
    for number in range(20, 30):
        train(sealed, key_of_trial(number))
        end(sealed, key_of_trial(number))
        settle(sealed)
    after = files()
    parts = sorted(before)[:-1]  # the last holds the rest
    assert all(before[part] == after[part] for part in parts)


def test_rows_of_a_trial_that_runs_are_not_sealed_and_can_be_taken_back(sealed, open_ledger):
    for number in range(20, 30):
        train(sealed, key_of_trial(number))
        end(sealed, key_of_trial(number))
        settle(sealed)
    before = rows_of(sealed)
    sealed.forget(key_of_trial(12))
    after = rows_of(sealed)
    assert len(before["epochs"]) - len(after["epochs"]) == N_EPOCHS
    assert len(before["predictions"]) - len(after["predictions"]) == N_IMAGES
    assert rows_of(open_ledger()) == after


@pytest.mark.parametrize("wanted", [{"phase": "search"}, {"phase": "compare", "fold": 1}, {"number": 3}], ids=str)
def test_sealed_rows_can_be_forgotten(sealed, open_ledger, tmp_path, wanted):
    before = {name: sealed.read(name).to_pylist() for name in GROWING}
    sealed.forget_all(**wanted)
    left = {
        name: in_order([row for row in rows if any(row[key] != value for key, value in wanted.items())])
        for name, rows in before.items()
    }
    assert {name: rows_of(sealed)[name] for name in GROWING} == left
    sealed.flush()
    assert on_disk(tmp_path) == left
    again = open_ledger()
    assert {name: rows_of(again)[name] for name in GROWING} == left
    # What is entered again under the same key stays.
    train(again, key_of_training(0))
    train(again, key_of_trial(3))
    assert rows_of(open_ledger()) == rows_of(again)


def test_reading_by_key_gives_the_same_rows_as_reading_all(sealed):
    for name in GROWING:
        whole = sealed.read(name).to_pylist()
        for key in ({"phase": "compare"}, {"number": 4}, {"number": None}, {"phase": "search", "fold": 1}):
            wanted = in_order(row for row in whole if all(row[column] == value for column, value in key.items()))
            assert in_order(sealed.read(name, **key).to_pylist()) == wanted


def test_a_new_class_appears_in_all_parts(sealed, open_ledger, tmp_path):
    train(sealed, Key(phase="transfer", level="1", way="scratch", data="others", repeat=0, fold=0), ("x", "z"))
    settle(sealed)
    path = tmp_path / "predictions.parquet"
    assert "probability_z" in pl.read_parquet(path).columns
    assert len(duckdb.sql(f"from '{path}' where probability_z is not null").fetchall()) == N_IMAGES
    assert rows_of(open_ledger()) == rows_of(sealed)
    assert on_disk(tmp_path)["predictions"] == rows_of(sealed)["predictions"]


class KilledError(BaseException):
    """The process dies."""


OPERATIONS = ("pathlib.Path.replace", "pathlib.Path.rename", "pathlib.Path.unlink", "os.fsync")


class Kill:
    """Lets a process die before one of its operations on files, and do nothing after that."""

    def __init__(self, patch, operations_left):
        self.left = operations_left
        for name in OPERATIONS:
            owner, _, function = name.rpartition(".")
            owner = Path if owner == "pathlib.Path" else os
            patch.setattr(owner, function, self._counted(getattr(owner, function)))

    def _counted(self, original):
        def operate(*arguments, **options):
            self.left -= 1
            if self.left < 0:
                raise KilledError
            return original(*arguments, **options)

        return operate


STEPS = [
    *(("trial", number) for number in range(6)),
    ("forget", {"phase": "search", "number": 1}),
    *(("training", fold) for fold in range(6)),
    ("forget", {"phase": "compare", "fold": 2}),
    *(("trial", number) for number in range(6, 10)),
]


def do(ledger, step):
    kind, what = step
    if kind == "trial":
        train(ledger, key_of_trial(what))
        end(ledger, key_of_trial(what))
    elif kind == "training":
        train(ledger, key_of_training(what), classes=("x", "y", "z")[: 2 + (what > 2)])
    else:
        ledger.forget_all(**what)


@pytest.mark.parametrize("every", [23, pytest.param(7, marks=pytest.mark.slow)])
def test_a_process_that_dies_at_any_operation_has_lost_nothing(tmp_path, monkeypatch, every):
    expected = {}
    (tmp_path / "whole").mkdir()
    whole = Ledger(tmp_path / "whole")
    for n_done, step in enumerate(STEPS, start=1):
        do(whole, step)
        expected[n_done] = rows_of(whole)
    whole.close()
    deaths = 0
    for last in range(0, 1000, every):
        folder = tmp_path / f"dies-{last}"
        folder.mkdir()
        ledger, n_done, died = Ledger(folder), 0, False
        with monkeypatch.context() as patch:
            Kill(patch, last)
            try:
                for step in STEPS:
                    do(ledger, step)
                    n_done += 1
                    settle(ledger)
            except KilledError:
                died = True
        ledger._writer.shutdown()
        ledger._journal.close()
        again = Ledger(folder)
        # A step that forgets may have been entered just before.
        assert rows_of(again) in (expected[n_done], expected.get(n_done + 1))
        again.flush()
        assert on_disk(folder) == {name: rows_of(again)[name] for name in GROWING}
        again.close()
        deaths += died
        if not died:
            break
    assert deaths > 140 // every
    assert not died


@pytest.mark.parametrize("table", GROWING)
def test_a_damaged_part_is_named(sealed, tmp_path, table):
    sealed.close()
    part = sorted((tmp_path / f"{table}.parquet").iterdir())[1]
    part.write_bytes(b"junk")
    for reading in (lambda: Ledger(tmp_path), lambda: read_table(tmp_path, table)):
        with pytest.raises(InputError, match=table) as caught:
            reading()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=str(part)):
        Ledger(tmp_path, cut_damage=True)


def test_a_lost_or_damaged_journal_leaves_what_is_sealed(sealed, open_ledger, tmp_path):
    expected = {name: len(sealed.read(name)) - len(sealed._held[name].read()) for name in GROWING}
    sealed.close()
    (tmp_path / JOURNAL).write_bytes(b"{oops\n")
    with pytest.raises(InputError, match="line 1 is damaged"):
        Ledger(tmp_path)
    again = open_ledger(cut_damage=True)
    assert {name: len(again.read(name)) for name in GROWING} == expected
    assert len(again.read("trials"))
    train(again, key_of_training(0))
    again.close()
    assert rows_of(open_ledger()) == rows_of(again)
