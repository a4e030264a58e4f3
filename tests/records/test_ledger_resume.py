"""Tests of search.records.ledger: what a study that goes on finds, and what it takes back."""

import os
from dataclasses import asdict, replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from search.records.journal import JOURNAL
from search.records.ledger import Ledger
from search.records.schema import KEY_COLUMNS, OPTIONAL, TABLES, Key

ALWAYS = tuple(name for name in TABLES if name not in OPTIONAL)
N_FOLDS, N_EPOCHS = 3, 3


def train(ledger, key, folds=N_FOLDS, epochs=N_EPOCHS):
    """Enter what a trial, or else a training, leaves on record after so many epochs of its last fold."""
    keys = [replace(key, repeat=0, fold=fold) for fold in range(folds)] if key.phase == "search" else [key]
    for own in map(asdict, keys):
        last = epochs if own["fold"] == folds - 1 else N_EPOCHS
        numbers = list(range(1, last + 1))
        ledger.add("epochs", own, {"epoch": numbers, "lr": [0.1] * last, "train_loss": [1 / n for n in numbers]})
        if last == N_EPOCHS:
            images = {"image": ["a.png", "ä, \u2028b.png"], "label": ["x", "y"], "predicted": ["x", "x"]}
            ledger.add("predictions", own, {**images, "probability_x": [0.9, 0.6]})
            ledger.add_row("folds", own, {"n_train": 10, "n_val": 2, "accuracy": 0.5})


def trial(number, **changes):
    return Key(**{"phase": "search", "number": number, "level": "1+2", "data": "synthetic", "seed": 0} | changes)


def training(fold, **changes):
    given = {"phase": "compare", "level": "1+2", "setting": 0, "data": "synthetic", "repeat": 0, "seed": 0}
    return Key(**given | {"fold": fold} | changes)


def fill(ledger):
    """Trials that ended, and trainings of every kind."""
    for number in range(3):
        train(ledger, trial(number))
        ledger.add_row("trials", asdict(trial(number)), {"state": "COMPLETE", "value": 0.1 * number})
    for fold in range(2):
        for changes in (
            {},
            {"repeat": 1},
            {"setting": 1},
            {"level": "none"},
            {"phase": "confirm", "number": 1},
        ):
            train(ledger, training(fold, **changes))
    for level in ("1+2", "none"):
        train(ledger, training(None, phase="test", repeat=None, level=level))


def tables_of(ledger):
    return {name: ledger.read(name) for name in TABLES}


def rows_of(ledger):
    return {name: ledger.read(name).to_pylist() for name in TABLES}


def journal(folder):
    return (folder / JOURNAL).read_bytes()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or "partial" in path.name]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """These tests write thousands of lines, and no power fails while they run."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def filled(tmp_path):
    """A folder with a ledger in it that was filled and closed."""
    ledger = Ledger(tmp_path)
    fill(ledger)
    ledger.close()
    return tmp_path


# What is taken back


def left(rows, key, beyond):
    """What should be left of all rows, by the words of `forget`."""

    def lies_beyond(row):
        position = (row["fold"] or 0, row["epoch"] - 1) if "epoch" in row else ((row["fold"] or 0), float("inf"))
        return position >= beyond

    def is_its(row):
        names = [name for name in KEY_COLUMNS if name != "seed"]
        if key.fold is None:
            names = [name for name in names if name not in ("fold", "repeat")]
        return all(row[name] == getattr(key, name) for name in names)

    return {
        name: [
            row
            for row in rows[name]
            if name not in ("epochs", "folds", "predictions") or not (is_its(row) and lies_beyond(row))
        ]
        for name in rows
    }


SUBJECTS = {
    "a trial": trial(1),
    "a trial of another seed": trial(1, seed=None),
    "the first fold": training(0),
    "another fold": training(1),
    "another repeat": training(1, repeat=1),
    "another setting": training(1, setting=1),
    "a finalist": training(1, phase="confirm", number=1),
    "all folds": training(None, repeat=None),
    "null fold": training(None, phase="test", repeat=None),
}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("beyond", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 1), (3, 0)], ids=str)
def test_what_lies_beyond_is_forgotten_and_nothing_else(open_ledger, subject, beyond):
    ledger, key = open_ledger(), SUBJECTS[subject]
    fill(ledger)
    before = rows_of(ledger)
    ledger.forget(key, beyond)
    assert rows_of(ledger) == left(before, key, beyond)
    assert rows_of(open_ledger()) == rows_of(ledger)


@pytest.mark.parametrize("fold", [0, 1, 4])
def test_a_fold_that_goes_on_keeps_its_own_epochs_alone(open_ledger, fold):
    # A training's position counts from its own fold; see `Recorder.rewind`.
    ledger = open_ledger()
    for other in range(5):
        train(ledger, training(other))
    ledger.forget(training(fold), beyond=(fold, 2))
    epochs = ledger.read("epochs").to_pandas().groupby("fold").size().to_dict()
    assert epochs == {other: 2 if other == fold else 3 for other in range(5)}
    for name in ("folds", "predictions"):
        assert set(ledger.read(name)["fold"].to_pylist()) == set(range(5)) - {fold}


@pytest.mark.parametrize(
    ("key", "beyond"),
    [
        (trial(7), (0, 0)),
        (trial(1, level="none"), (0, 0)),
        (trial(1, data=None), (0, 0)),
        (trial(1, setting=0), (0, 0)),
        (trial(None), (0, 0)),
        (trial(1), (3, 0)),
        (trial(1), (2, 3)),
        (training(5), (0, 0)),
        (training(1, repeat=2), (0, 0)),
        (training(None, phase="test", way="scratch"), (0, 0)),
    ],
    ids=str,
)
def test_nothing_is_written_where_nothing_matches(open_ledger, tmp_path, key, beyond):
    ledger = open_ledger()
    fill(ledger)
    ledger.flush()
    before, rows = journal(tmp_path), rows_of(ledger)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    ledger.forget(key, beyond)
    ledger.flush()
    assert journal(tmp_path) == before
    assert rows_of(ledger) == rows
    assert list(tmp_path.glob("*.parquet")) == []


def test_all_trainings_with_a_value_are_forgotten_finished_or_not(open_ledger):
    ledger = open_ledger()
    fill(ledger)
    before = rows_of(ledger)
    for wanted in ({"phase": "confirm"}, {"phase": "compare", "level": "1+2"}, {"way": None, "phase": "test"}):
        ledger.forget_all(**wanted)
        for name in ("epochs", "folds", "predictions"):
            before[name] = [row for row in before[name] if any(row[k] != value for k, value in wanted.items())]
        assert rows_of(ledger) == before == rows_of(open_ledger())
    ledger.forget_all(phase="nonsense")
    assert rows_of(ledger) == before


# What stands in the journal


@pytest.mark.parametrize("seed", range(3))
def test_random_rows_come_back_after_every_reopening(open_ledger, seed):
    rng = np.random.default_rng(seed)
    written = []
    for _ in range(3):
        ledger = open_ledger()
        for _ in range(int(rng.integers(1, 6))):
            row = {"n_train": int(rng.integers(1000)), "n_val": None, "accuracy": float(rng.random())}
            key = asdict(Key(phase="compare", fold=len(written)))
            ledger.add_row("folds", key, row)
            if rng.random() < 0.3:
                ledger.flush()
            written.append((len(written), row["n_train"], row["accuracy"]))
        if rng.random() < 0.5:  # otherwise the process dies here
            ledger.close()
    rows = open_ledger().read("folds").to_pylist()
    assert [(row["fold"], row["n_train"], row["accuracy"]) for row in rows] == written


# What stands on the disk


def test_half_written_files_are_removed_at_the_start(open_ledger, filled):
    for name in ("trials.parquet", "study.json"):
        (filled / f".{name}.partial").write_bytes(b"ha")
    (filled / ".predictions.parquet.partial").mkdir()
    (filled / ".predictions.parquet.partial" / "00000.parquet").write_bytes(b"ha")
    (filled / ".other").write_bytes(b"")
    open_ledger()
    assert hidden(filled) == [".other"]


@pytest.mark.parametrize("content", [b"", b"junk", None], ids=["empty", "junk", "lost"])
@pytest.mark.parametrize("name", ALWAYS)
def test_damaged_parquet_file_is_written_anew(open_ledger, filled, name, content):
    path = filled / f"{name}.parquet"
    whole = pq.read_table(path)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    open_ledger().flush()
    assert pq.read_table(path).equals(whole, check_metadata=True)
