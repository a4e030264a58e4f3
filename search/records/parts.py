"""The parts of a table that grows without end: Parquet files that are sealed one by one and never change.

A table is one file until its first part is sealed. From then on it is a folder of the same name, which pandas,
Polars and DuckDB read like a file: the sealed parts, and a last file with the rows that came after them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.common.files import readable, replace_folder, write_atomically
from search.records.rows import concatenated


class Parts:
    """The sealed parts of one table.

    Args:
        folder: of the study.
        table: its name.
        names: of the files that are sealed. Others in the table's folder are left over, and are removed.

    Attributes:
        names: of the sealed files.
    Raises:
        InputError: a file is missing or damaged; names it.
    """

    def __init__(self, folder: Path, table: str, names: Sequence[str] = ()) -> None:
        self._study, self._table, self._path = folder, table, folder / f"{table}.parquet"
        self.names = list(names)
        self._columns: pa.Table | None = None  # of all parts, without rows
        self._number = 1 + max((int(Path(name).stem) for name in names), default=-1)
        for name in names:
            with readable(self._path / name):
                self._columns = pq.read_schema(self._path / name).empty_table()
        if self._path.is_dir():
            kept = {self._path / name for name in names} | ({self._rest} if names else set())
            for file in set(self._path.iterdir()) - kept:
                file.unlink()
            if not names:
                self._path.rmdir()

    @property
    def _rest(self) -> Path:
        """The file with the rows that are not sealed, once there are parts."""
        return self._path / _name(self._number)

    def read(self, condition: pc.Expression, columns: Sequence[str] | None = None) -> list[pa.Table]:
        """The rows that meet a condition; a table for each part.

        Raises:
            InputError: a file is damaged; names it.
        """
        return [self._read(name, condition, columns) for name in self.names]

    def holding(self, condition: pc.Expression) -> list[str]:
        """Names of the parts in which a row meets a condition."""
        return [name for name in self.names if self._read(name, condition, ["phase"]).num_rows]

    def publish(self, rest: pa.Table) -> None:
        """Write the rows that are not sealed.

        Raises:
            StudyFailedError: the file cannot be written; gives the system's reason.
        """
        if self._columns is None:
            write_atomically(self._path, rest)
        else:
            write_atomically(self._rest, concatenated(self._table, [self._columns, rest]), partials=self._study)

    def seal(self, rows: pa.Table, rest: pa.Table) -> None:
        """Seal rows as a new part, and write those that are not sealed.

        A reader may miss some of the rest at this moment; it never sees a row twice.

        Raises:
            StudyFailedError: a file cannot be written; gives the system's reason.
        """
        sealed, following = _name(self._number), _name(self._number + 1)
        columns = [] if self._columns is None else [self._columns]
        rows, rest = (concatenated(self._table, [*columns, own]) for own in (rows, rest))
        if self.names:
            write_atomically(self._path / sealed, rows, partials=self._study)
            write_atomically(self._path / following, rest, partials=self._study)
        else:
            replace_folder(self._path, partial(_write, {sealed: rows, following: rest}))
        self.names.append(sealed)
        self._number += 1
        self._columns = rows.slice(0, 0)

    def widen(self, columns: pa.Table) -> list[Path]:
        """Give all parts the columns of a table without rows, where they lack any.

        Returns:
            See `remove`.
        """
        if self._columns is None or set(columns.column_names) <= set(self._columns.column_names):
            return []
        return self._rewrite(self.names, lambda rows: concatenated(self._table, [rows, columns]))

    def remove(self, condition: pc.Expression) -> list[Path]:
        """Remove the rows that meet a condition: parts that hold any are written anew under other names.

        The rest is overwritten, and must be published again.

        Returns:
            The files that are replaced, to be removed when it is on record that they are.
        Raises:
            StudyFailedError: a file cannot be written; gives the system's reason.
        """
        return self._rewrite(self.holding(condition), lambda rows: rows.filter(~condition))

    def _rewrite(self, names: Sequence[str], change: Callable[[pa.Table], pa.Table]) -> list[Path]:
        replaced = [self._path / name for name in names]
        for name in tuple(names):
            rows = change(self._read(name))
            write_atomically(self._rest, rows, partials=self._study)
            self.names[self.names.index(name)] = self._rest.name
            self._number += 1
            self._columns = rows.slice(0, 0)
        return replaced

    def _read(
        self, name: str, condition: pc.Expression | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        with readable(self._path / name):
            return pq.read_table(self._path / name, columns=columns, filters=condition, partitioning=None)


def _write(tables: Mapping[str, pa.Table], folder: Path) -> None:
    for name, rows in tables.items():
        write_atomically(folder / name, rows)


def _name(number: int) -> str:
    return f"{number:05d}.parquet"
