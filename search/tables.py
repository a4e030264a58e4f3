"""The tables of a study: a ledger that keeps them on disk while the study runs.

This is the only module that writes results. Every entry goes first to an append-only journal, so that nothing
finished is lost, and from there to Parquet files, which are replaced as a whole and so are never half written.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.columns import KEY_COLUMNS, TABLES, Key, field_of, params_field
from search.errors import StudyFailedError

FLUSH_EVERY_S = 3.0
JOURNAL = "journal.jsonl"


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


def _without(rows: pa.Table, key: Mapping[str, Any]) -> pa.Table:
    """The rows that do not have this key."""
    match = pa.array([True] * len(rows), type=pa.bool_())
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
            field = params_field(name, values)
            values = [value if field.type != pa.string() or value is None else str(value) for value in values]
        if pa.types.is_timestamp(field.type):
            values = pa.array([str(value) for value in values]).cast(field.type)
        arrays.append(pa.array(values, type=field.type))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


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
