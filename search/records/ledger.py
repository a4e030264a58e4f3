"""The ledger: the tables of a study, written while it runs.

No other module writes results. Every entry goes first to an append-only journal, so that nothing finished is lost,
and from there to Parquet files, which are replaced as a whole and so are never half written.
"""

import base64
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.common.errors import InputError, StudyFailedError
from search.common.files import write_atomically
from search.records.schema import KEY_COLUMNS, OLDER_SETTINGS, OPTIONAL, TABLES, Key, field_of, params_field

if TYPE_CHECKING:  # a study prints its header without waiting for pandas
    import pandas as pd

FLUSH_EVERY_S = 3.0
JOURNAL = "journal.jsonl"
# Tables with rows of trainings that have not ended.
_UNFINISHED = ("epochs", "folds", "predictions")


class Ledger:
    """Holds the rows of all tables and writes them: to the journal at once, to Parquet every few seconds.

    Args:
        folder: of the study; it exists.
        cut_damage: truncate a damaged journal before its first damaged line, and keep a copy of it.
    Raises:
        StudyFailedError: the folder cannot be written to; gives the system's reason.
        InputError: the journal is damaged; names the line.
    """

    def __init__(self, folder: Path, *, cut_damage: bool = False) -> None:
        self._folder = folder
        self._chunks: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
        self._changed: set[str] = set(TABLES)
        self._flushed_at = 0.0
        for left in folder.glob(".*.partial"):
            left.unlink()
        self._replay(folder / JOURNAL, cut_damage)
        try:
            self._journal = (folder / JOURNAL).open("a", encoding="utf-8")
        except OSError as error:
            raise StudyFailedError(f"{folder}: {error.strerror}") from error

    def add(self, table: str, key: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows: `key` holds the values they share, `columns` the others, as lists of equal length."""
        columns = {name: list(values) for name, values in columns.items()}
        self._enter({"do": "add", "table": table, "key": dict(key), "columns": columns})

    def add_row(self, table: str, key: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Add one row."""
        self.add(table, key, {name: [value] for name, value in row.items()})

    def replace(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace all rows of a table."""
        self._enter({"do": "replace", "table": table, "rows": [dict(row) for row in rows]})

    def forget(self, key: Key, beyond: tuple[int, int] = (0, 0)) -> None:
        """Remove rows of a training or trial that has not ended; a None in the key means null.

        `seed` is ignored, and a key without a fold means all folds and repeats.

        Args:
            beyond: finished folds, and finished epochs of the next one; their rows are kept.
        """
        parts = {name: value for name, value in asdict(key).items() if name != "seed"}
        if key.fold is None:
            del parts["fold"], parts["repeat"]
        # A training's first entry is an epoch.
        if _matches(self.read("epochs"), parts, beyond).true_count:
            self._enter({"do": "forget", "key": parts, "beyond": beyond})

    def forget_all(self, **key: Any) -> None:
        """Remove all rows of trainings with these values, finished or not; None means null."""
        if any(_matches(self.read(table), key, (0, 0)).true_count for table in _UNFINISHED):
            self._enter({"do": "forget", "key": key, "beyond": (0, 0)})

    def read(self, table: str) -> pa.Table:
        """All rows of a table so far."""
        whole = pa.concat_tables([_empty(table), *self._chunks[table]], promote_options="permissive")
        whole = whole.select([name for name in _order(table, whole.column_names)]).combine_chunks()
        self._chunks[table] = [whole]
        return whole

    def flush_if_due(self) -> None:
        """Write what has changed to Parquet, at most every few seconds."""
        if time.monotonic() - self._flushed_at >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what has changed to Parquet, each file replaced as a whole."""
        for table in sorted(self._changed):
            if table in OPTIONAL and not self.read(table).num_rows:
                (self._folder / f"{table}.parquet").unlink(missing_ok=True)
                continue
            write_atomically(self._folder / f"{table}.parquet", self.read(table))
        self._changed.clear()
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Write what has changed, and close the journal."""
        try:
            self.flush()
        finally:
            with suppress(OSError):  # the error was raised when the line was written
                self._journal.close()

    def _enter(self, entry: dict[str, Any]) -> None:
        """Write an entry to the journal, through to the disk, and apply it."""
        try:
            self._journal.write(json.dumps(entry, default=str) + "\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise StudyFailedError(f"{self._folder / JOURNAL}: {error.strerror or error}") from error
        self._apply(entry)

    def _replay(self, path: Path, cut_damage: bool) -> None:
        """Apply the journal's entries; a last line that was cut off is removed from the file."""
        data = path.read_bytes() if path.exists() else b""
        kept = 0
        for number, line in enumerate(io.BytesIO(data), start=1):  # bytes.splitlines splits at more than \n
            if not line.endswith(b"\n"):
                break
            try:
                self._apply(json.loads(line))
            except Exception as error:  # a damaged line may still be JSON, of anything
                if not cut_damage:
                    raise InputError(
                        f"{path}: line {number} is damaged ({type(error).__name__}); --force resumes from "
                        f"the lines before it, {100 * kept / len(data):.0f} % of the journal"
                    ) from error
                path.with_name(f"{path.name}.damaged").write_bytes(data)
                break
            kept += len(line)
        if kept < len(data):
            os.truncate(path, kept)

    def _apply(self, entry: Mapping[str, Any]) -> None:
        if entry["do"] == "add":
            self._chunks[entry["table"]].append(_chunk(entry["key"], entry["columns"]))
            self._changed.add(entry["table"])
        elif entry["do"] == "replace":
            rows = entry["rows"]
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}
            self._chunks[entry["table"]] = [_chunk({}, columns)] if rows else []
            self._changed.add(entry["table"])
        else:
            for table in _UNFINISHED:
                rows = self.read(table)
                self._chunks[table] = [rows.filter(pc.invert(_matches(rows, entry["key"], entry["beyond"])))]
            self._changed |= set(_UNFINISHED)


def read_table(folder: Path, name: str) -> "pd.DataFrame":
    """A table of a study's folder as it was last written.

    Returns:
        All columns of the table's schema, null where the study was written before there were such columns; no rows
        if there is no file.
    Raises:
        InputError: the file is damaged; names it.
    """
    file = folder / f"{name}.parquet"
    try:
        table = pq.read_table(file) if file.exists() else _empty(name)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
    if "settings" in table.column_names:  # of an older study
        numbers = [OLDER_SETTINGS.get(name) for name in table["settings"].to_pylist()]
        table = table.append_column(field_of("setting"), pa.array(numbers, pa.int64())).drop_columns("settings")
    for field in _empty(name).schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _matches(rows: pa.Table, key: Mapping[str, Any], beyond: Sequence[int]) -> pa.BooleanArray:
    """Rows with this key that lie beyond a number of folds and epochs."""
    folds, epochs = beyond
    fold = pc.fill_null(rows["fold"], 0)
    match = pc.greater_equal(fold, folds)
    if "epoch" in rows.column_names:
        match = pc.and_(match, pc.or_(pc.greater(fold, folds), pc.greater(rows["epoch"], epochs)))
    for name, value in key.items():
        column = rows[name]
        same = column.is_null() if value is None else pc.fill_null(pc.equal(column, value), False)
        match = pc.and_(match, same)
    return match.combine_chunks()


def _chunk(key: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    length = len(next(iter(columns.values())))
    arrays, fields = [], []
    for name, values in [*((name, [value] * length) for name, value in key.items()), *columns.items()]:
        field = field_of(name)
        if field is None:  # a parameter of the space, of whatever type
            field = params_field(name, values)
            values = [value if field.type != pa.string() or value is None else str(value) for value in values]
        if pa.types.is_timestamp(field.type):
            values = pa.array([None if value is None else str(value) for value in values], pa.string())
            values = values.cast(field.type)
        elif pa.types.is_binary(field.type):  # the journal is text
            values = [base64.b64decode(value) for value in values]
        arrays.append(pa.array(values, type=field.type))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _empty(table: str) -> pa.Table:
    fields = [field_of(name) for name in (*KEY_COLUMNS, *TABLES[table])]
    return pa.schema(fields).empty_table()


def _order(table: str, names: Sequence[str]) -> list[str]:
    """Key columns first, then parameters, the table's own columns, and probabilities."""
    known = [*KEY_COLUMNS, *TABLES[table]]
    parameters = sorted(name for name in names if name.startswith("params_"))
    others = [name for name in names if name not in known and name not in parameters]
    return [*KEY_COLUMNS, *parameters, *TABLES[table], *others]
