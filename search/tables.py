"""The tables of a study: their columns, and a ledger that keeps them on disk while the study runs.

This is the only module that writes results. Every entry goes first to an append-only journal, so that nothing
finished is lost, and from there to Parquet files, which are replaced as a whole and so are never half written.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.errors import StudyFailedError
from search.metrics import METRIC_NAMES

FLUSH_EVERY_S = 3.0
JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a row is about; None where a column means nothing.

    Attributes:
        phase: search, compare, test or transfer.
        number: of the trial, in the search.
        level: value of the factor, or `paper_plain` or `paper_wbcsnet2`.
        settings: tuned (the level at its best) or equal (the same settings for all levels).
        way: scratch, frozen or fine_tuned.
        data: name of the data set that is trained and scored on.
        repeat: number of the repetition of a whole partition, from 0.
        seed: of the training's weights, batches and augmentation.
        fold: number of the split, from 0.
    """

    phase: str
    number: int | None = None
    level: str | None = None
    settings: str | None = None
    way: str | None = None
    data: str | None = None
    repeat: int | None = None
    seed: int | None = None
    fold: int | None = None


KEY_COLUMNS = tuple(Key.__dataclass_fields__)

_SCORES = {
    "accuracy": "share of images classified rightly",
    "balanced_accuracy": "mean over classes of the share of their images classified rightly",
    "macro_f1": "mean over classes of F1",
    "sensitivity": "mean over classes of TP / (TP + FN), each class against the rest",
    "specificity": "mean over classes of TN / (TN + FP), each class against the rest",
    "log_loss": "mean negative logarithm of the probability given to the true class",
}

# name -> (type, meaning, unit). A column of this name means this in whichever table it stands.
COLUMNS: dict[str, tuple[pa.DataType, str, str]] = {
    "phase": (pa.string(), "search, compare, test or transfer", ""),
    "number": (pa.int64(), "number of the trial", ""),
    "level": (pa.string(), "value of the factor, or one of the paper's networks", ""),
    "settings": (pa.string(), "tuned: the level at its best; equal: the same settings for all levels", ""),
    "way": (pa.string(), "scratch, frozen (new head only) or fine_tuned", ""),
    "data": (pa.string(), "data set trained and scored on", ""),
    "repeat": (pa.int64(), "repetition of the whole partition, from 0", ""),
    "seed": (pa.int64(), "seed of weights, batches and augmentation", ""),
    "fold": (pa.int64(), "number of the split, from 0", ""),
    "trial_id": (pa.string(), "name of the trial in Ray", ""),
    "state": (pa.string(), "COMPLETE, PRUNED (stopped early) or FAIL", ""),
    "value": (pa.float64(), "searched metric: pooled over all search folds, or where the trial stopped", ""),
    "confirmed_value": (pa.float64(), "searched metric on fresh seeds and folds", ""),
    "datetime_start": (pa.timestamp("us", tz="UTC"), "start", ""),
    "datetime_complete": (pa.timestamp("us", tz="UTC"), "end", ""),
    "duration_s": (pa.float64(), "from start to end", "s"),
    "epochs": (pa.int64(), "epochs trained, over all folds", ""),
    "folds_done": (pa.int64(), "folds finished", ""),
    **{name: (pa.float64(), meaning, "") for name, meaning in _SCORES.items()},
    "n_parameters": (pa.int64(), "trainable parameters", ""),
    "macs": (pa.int64(), "multiply-accumulates of one image's forward pass", ""),
    "train_s": (pa.float64(), "time in training, without validation", "s"),
    "images_per_s": (pa.float64(), "images trained per second of training", "1/s"),
    "error": (pa.string(), "why the trial failed", ""),
    "epoch": (pa.int64(), "number of the epoch, from 1", ""),
    "lr": (pa.float64(), "learning rate at the start of the epoch", ""),
    "train_loss": (pa.float64(), "mean loss of the epoch's batches", ""),
    "train_accuracy": (pa.float64(), "accuracy on the epoch's batches", ""),
    "val_loss": (pa.float64(), "log loss on the validation images after the epoch", ""),
    "val_accuracy": (pa.float64(), "accuracy on the validation images after the epoch", ""),
    "val_balanced_accuracy": (pa.float64(), "balanced accuracy on the validation images after the epoch", ""),
    "n_train": (pa.int64(), "training images", ""),
    "n_val": (pa.int64(), "validation images", ""),
    "image": (pa.string(), "the image's path in its data set", ""),
    "label": (pa.string(), "true class", ""),
    "predicted": (pa.string(), "most probable class", ""),
    "n_images": (pa.int64(), "images that are scored, each once per repeat", ""),
    **{f"{name}_mean": (pa.float64(), f"mean over folds: {meaning}", "") for name, meaning in _SCORES.items()},
    **{
        f"{name}{end}": (pa.float64(), f"end of the 95 % interval of {name}_mean", "")
        for name in METRIC_NAMES
        for end in ("_low", "_high")
    },
    **{
        f"difference_{rival}{end}": (
            pa.float64(),
            f"searched metric minus that of the {rival} level{what}",
            "",
        )
        for rival in ("reference", "best")
        for end, what in (
            ("", ", mean over folds"),
            ("_low", ": 95 % interval"),
            ("_high", ": 95 % interval"),
        )
    },
    "p_holm": (pa.float64(), "corrected resampled t-test against the reference, Holm over the levels", ""),
    "p_mcnemar": (pa.float64(), "exact McNemar test against the reference on pooled predictions", ""),
    "p_better": (pa.float64(), "probability that the level beats the reference by over 1 point", ""),
    "p_equal": (pa.float64(), "probability that it is within 1 point of the reference", ""),
    "p_worse": (pa.float64(), "probability that it is over 1 point behind the reference", ""),
    "latency_ms": (pa.float64(), "one image's forward pass on the study's machine, median", "ms"),
}

_COMPARISON = (
    "n_images",
    *METRIC_NAMES,
    *(f"{name}{end}" for name in METRIC_NAMES for end in ("_mean", "_low", "_high")),
    *(f"difference_{rival}{end}" for rival in ("reference", "best") for end in ("", "_low", "_high")),
    "p_holm",
    "p_mcnemar",
    "p_better",
    "p_equal",
    "p_worse",
    "n_parameters",
    "macs",
    "latency_ms",
)

# table -> columns beside the key. `params_<name>` and `probability_<class>` come with the space and the data.
TABLES: dict[str, tuple[str, ...]] = {
    "trials": (
        *("trial_id", "state", "value", "confirmed_value", "datetime_start", "datetime_complete"),
        *("duration_s", "epochs", "folds_done", *METRIC_NAMES),
        *("n_parameters", "macs", "train_s", "images_per_s", "error"),
    ),
    "epochs": (
        *("epoch", "lr", "train_loss", "train_accuracy"),
        *("val_loss", "val_accuracy", "val_balanced_accuracy", "train_s"),
    ),
    "folds": ("n_train", "n_val", *METRIC_NAMES, "train_s"),
    "predictions": ("image", "label", "predicted"),
    "comparison": _COMPARISON,
    "transfer": _COMPARISON,
}


class Ledger:
    """Holds the rows of all tables, and writes them: at once to the journal, every few seconds to Parquet.

    Args:
        folder: of the study; it exists.
    Raises:
        StudyFailedError: the folder cannot be written to, with the system's reason.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
        self._changed: set[str] = set(TABLES)
        self._flushed_at = 0.0
        for entry in _read_journal(folder / JOURNAL):
            self._apply(entry)
        try:
            self._journal = (folder / JOURNAL).open("a", encoding="utf-8")
        except OSError as error:
            raise StudyFailedError(f"{folder}: {error.strerror}") from error

    def add(self, table: str, key: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows: `key` holds what they share, `columns` lists of equal length of what they do not."""
        columns = {name: list(values) for name, values in columns.items()}
        self._enter({"do": "add", "table": table, "key": dict(key), "columns": columns})

    def add_row(self, table: str, key: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Add one row."""
        self.add(table, key, {name: [value] for name, value in row.items()})

    def replace(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace a whole table that follows from the others."""
        self._enter({"do": "replace", "table": table, "rows": [dict(row) for row in rows]})

    def forget(self, key: Key) -> None:
        """Remove all rows of a training or trial that did not finish; a None in the key stands for null.

        `seed` is not looked at, and a key without a fold stands for all folds.
        """
        parts = {name: value for name, value in asdict(key).items() if name != "seed"}
        if key.fold is None:
            del parts["fold"], parts["repeat"]
        self._enter({"do": "forget", "key": parts})

    def read(self, table: str) -> pa.Table:
        """All rows so far."""
        whole = pa.concat_tables([_empty(table), *self._chunks[table]], promote_options="permissive")
        whole = whole.select([name for name in _order(table, whole.column_names)]).combine_chunks()
        self._chunks[table] = [whole]
        return whole

    def flush_if_due(self) -> None:
        """Write what changed to Parquet, unless that was done a moment ago."""
        if time.monotonic() - self._flushed_at >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what changed to Parquet, each file replaced as a whole."""
        for table in sorted(self._changed):
            write_atomically(self._folder / f"{table}.parquet", self.read(table))
        self._changed.clear()
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self._journal.close()

    def _enter(self, entry: dict[str, Any]) -> None:
        """Write an entry to the journal, down to the disk, and act on it."""
        try:
            self._journal.write(json.dumps(entry, default=str) + "\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise StudyFailedError(f"{self._folder / JOURNAL}: {error.strerror or error}") from error
        self._apply(entry)

    def _apply(self, entry: Mapping[str, Any]) -> None:
        if entry["do"] == "add":
            self._chunks[entry["table"]].append(_chunk(entry["key"], entry["columns"]))
            self._changed.add(entry["table"])
        elif entry["do"] == "replace":
            rows = entry["rows"]
            self._chunks[entry["table"]] = [_chunk({}, {name: [row[name]] for name in row}) for row in rows]
            self._changed.add(entry["table"])
        else:
            for table in TABLES:
                self._chunks[table] = [_without(self.read(table), entry["key"])]
            self._changed |= set(TABLES)


def write_atomically(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that a reader sees either as it was or whole."""
    replace_file(path, lambda partial: pq.write_table(table, partial))


def replace_file(path: Path, write: Any) -> None:
    """Let `write` make a file beside the path, then put it in the path's place.

    Raises:
        StudyFailedError: it cannot be written, with the path and the system's reason.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # what cannot be written can perhaps not be removed either
            partial.unlink(missing_ok=True)
        raise StudyFailedError(f"{path}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole or not at all."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def field_of(name: str) -> pa.Field | None:
    """The column of this name with its meaning and unit; None if the name says only a prefix."""
    if name.startswith("probability_"):
        type_, meaning, unit = pa.float64(), f"probability of class {name.removeprefix('probability_')}", ""
    elif name in COLUMNS:
        type_, meaning, unit = COLUMNS[name]
    else:
        return None
    return pa.field(name, type_, metadata={"description": meaning, "unit": unit})


def _without(rows: pa.Table, key: Mapping[str, Any]) -> pa.Table:
    """The rows that do not have this key."""
    match = pa.array([True] * len(rows))
    for name, value in key.items():
        column = rows[name]
        same = column.is_null() if value is None else pc.fill_null(pc.equal(column, value), False)
        match = pc.and_(match, same)
    return rows.filter(pc.invert(match))


def _chunk(key: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    length = len(next(iter(columns.values())))
    arrays, fields = [], []
    for name, values in [*((name, [value] * length) for name, value in key.items()), *columns.items()]:
        field = field_of(name)
        if field is None:  # a parameter of the space, of whatever type
            field = _params_field(name, values)
            values = [value if field.type != pa.string() or value is None else str(value) for value in values]
        if pa.types.is_timestamp(field.type):
            values = pa.array([str(value) for value in values]).cast(field.type)
        arrays.append(pa.array(values, type=field.type))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _params_field(name: str, values: Sequence[Any]) -> pa.Field:
    kinds = {type(value) for value in values if value is not None}
    kind = kinds.pop() if len(kinds) == 1 else str
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    meaning = f"parameter {name.removeprefix('params_')} of the space"
    return pa.field(name, types.get(kind, pa.string()), metadata={"description": meaning, "unit": ""})


def _empty(table: str) -> pa.Table:
    fields = [field_of(name) for name in (*KEY_COLUMNS, *TABLES[table])]
    return pa.schema(fields).empty_table()


def _order(table: str, names: Sequence[str]) -> list[str]:
    """Key columns first, then the parameters, the table's own columns, and the probabilities."""
    known = [*KEY_COLUMNS, *TABLES[table]]
    parameters = sorted(name for name in names if name.startswith("params_"))
    others = [name for name in names if name not in known and name not in parameters]
    return [*KEY_COLUMNS, *parameters, *TABLES[table], *others]


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """The journal's entries; a last line that was cut off in the middle is dropped from the file."""
    if not path.exists():
        return []
    entries, kept = [], 0
    data = path.read_bytes()
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            os.truncate(path, kept)
            break
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            raise StudyFailedError(f"{path}: line {len(entries) + 1} is not JSON: {error}") from error
        kept += len(line)
    return entries
