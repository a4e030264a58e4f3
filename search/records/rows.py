"""Rows of the tables as Arrow tables: made from values, put in order, and found by their key."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from search.records.schema import KEY_COLUMNS, TABLES, field_of, params_field

Values = Mapping[str, Any]
Columns = Mapping[str, Sequence[Any]]


class HeldRows:
    """The rows of a table that are in memory.

    What is added becomes an Arrow table when it is first read, much faster than one for every row. Until then,
    rows with the same columns share one list for each: the garbage collector goes through every list there is.

    Args:
        table: its name.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self._added: list[dict[str, list[Any]]] = []
        self._n_added = 0
        self._rows = empty(table)

    def __len__(self) -> int:
        return len(self._rows) + self._n_added

    def add(self, key: Values, columns: Columns) -> None:
        """Add rows: `key` holds the values they share, `columns` the others, as lists of equal length."""
        n_rows = len(next(iter(columns.values())))
        added = {**{name: [value] * n_rows for name, value in key.items()}, **columns}
        self._n_added += n_rows
        if self._added and _fits(added, self._added[-1]):
            for name, values in added.items():
                self._added[-1][name] += values
        else:
            self._added.append({name: list(values) for name, values in added.items()})

    def put(self, rows: pa.Table | None) -> None:
        """Put rows, or none, in place of all."""
        self._rows, self._added, self._n_added = concatenated(self.table, [] if rows is None else [rows]), [], 0

    def read(self) -> pa.Table:
        """All rows.

        Raises:
            ValueError, TypeError: what was added does not fit the columns' types, or each other.
        """
        if self._added:
            tables = [_table(columns) for columns in self._added]
            self.put(pa.concat_tables([self._rows, *tables], promote_options="permissive"))
        return self._rows

    def remove(self, condition: pc.Expression) -> None:
        """Remove the rows that meet a condition."""
        self.put(self.read().filter(~condition))


def _fits(added: Columns, earlier: Columns) -> bool:
    """Whether rows can share the lists of earlier ones.

    The type of a parameter depends on what is added at once, so rows with parameters stay apart; so do rows that
    cannot be read, which are told when they are.
    """
    return (
        tuple(added) == tuple(earlier)
        and len({len(values) for values in added.values()}) == 1
        and not any(name.startswith("params_") for name in added)
    )


def rows_from_records(records: Sequence[Values]) -> pa.Table | None:
    """Rows from one mapping each, null where it lacks a column; None without rows."""
    names = dict.fromkeys(name for row in records for name in row)
    return _table({name: [row.get(name) for row in records] for name in names}) if records else None


def concatenated(table: str, parts: Sequence[pa.Table]) -> pa.Table:
    """All rows, with the table's columns in order."""
    whole = pa.concat_tables([empty(table), *parts], promote_options="permissive")
    return whole.select(_order(table, whole.column_names)).combine_chunks()


def empty(table: str) -> pa.Table:
    """A table without rows."""
    return pa.schema([field_of(name) for name in (*KEY_COLUMNS, *TABLES[table])]).empty_table()


def matching(key: Values, beyond: Sequence[int] = (0, 0), *, by_epoch: bool = False) -> pc.Expression:
    """The condition for rows with this key that lie beyond a number of folds and epochs.

    Args:
        key: None means null.
        beyond: finished folds, and finished epochs of the next one.
        by_epoch: the table has a row per epoch.
    """
    folds, epochs = beyond
    condition = pc.scalar(True)
    if folds or (by_epoch and epochs):
        fold = pc.coalesce(pc.field("fold"), pc.scalar(0))
        condition = fold >= folds
        if by_epoch:
            condition &= (fold > folds) | (pc.field("epoch") > epochs)
    for name, value in key.items():
        column, value = pc.field(name), str(value) if isinstance(value, str) else value  # a phase is an enum
        # A null would make the whole condition null.
        same = column.is_null() if value is None else column.is_valid() & (column == value)
        condition &= same
    return condition


def _table(columns: Columns) -> pa.Table:
    arrays, fields = [], []
    for name, values in columns.items():
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


def _order(table: str, names: Sequence[str]) -> list[str]:
    """Key columns first, then parameters, the table's own columns, and probabilities."""
    known = [*KEY_COLUMNS, *TABLES[table]]
    parameters = sorted(name for name in names if name.startswith("params_"))
    others = [name for name in names if name not in known and name not in parameters]
    return [*KEY_COLUMNS, *parameters, *TABLES[table], *others]
