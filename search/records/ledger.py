"""The ledger: the tables of a study, written while it runs.

No other module writes results. Every entry goes first to an append-only journal, so that nothing finished is lost,
and from there to Parquet files, each of which is replaced as a whole and so is never half written.

The two tables that grow with every epoch and image are sealed part by part, see `search.records.parts`: what is
sealed leaves the memory, and the journal starts again without it. So neither grows with the study.
"""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.common.files import write_atomically
from search.records.journal import Journal, replay
from search.records.parts import Parts
from search.records.rows import HeldRows, concatenated, matching, rows_from_records
from search.records.schema import GROWING, KEY_COLUMNS, OPTIONAL, TABLES, Key, Phase
from search.records.sealed import latest_sealed, read_sealed, remove_others, write_sealed

FLUSH_EVERY_S = 3.0
# Writing takes at most this share of the time: tables that take long are written less often.
_WRITING_SHARE = 0.1
# Writing a part of so many rows takes about a tenth of a second.
PART_ROWS = 131_072
# Tables with rows of trainings that have not ended.
_UNFINISHED = ("epochs", "folds", "predictions")
# What tells trainings apart; the seed follows from it.
_IDENTITY = [name for name in KEY_COLUMNS if name != "seed"]


class Ledger:
    """Holds the rows of all tables and writes them: to the journal at once, to Parquet every few seconds.

    Args:
        folder: of the study; it exists.
        cut_damage: truncate a damaged journal before its first damaged line, and keep a copy of it.
    Raises:
        StudyFailedError: the folder cannot be written to; gives the system's reason.
        InputError: the journal or a sealed file is damaged; names the line or the file.
    """

    def __init__(self, folder: Path, *, cut_damage: bool = False) -> None:
        self._folder = folder
        self._held: dict[str, HeldRows] = {}
        self._parts: dict[str, Parts] = {}
        self._forgotten: list[tuple[Mapping[str, Any], Sequence[int]]] = []
        self._changed = set(TABLES)
        self._seal_at = PART_ROWS
        self._flushed_at, self._flush_s = 0.0, 0.0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="tables")
        self._writing: Future[None] | None = None
        for left in folder.glob(".*.partial"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
        self._replay(cut_damage)
        latest, is_lost = latest_sealed(folder), not self._n_entries
        if latest and is_lost:
            self._apply({"do": "start", "number": latest})
        for table in GROWING:
            self._parts[table] = self._parts.get(table) or Parts(folder, table)
        self._journal = Journal(folder)
        if latest and is_lost:
            self._restart()
        remove_others(folder, self._number)
        self._take_back()

    def add(self, table: str, key: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows: `key` holds the values they share, `columns` the others, as lists of equal length."""
        columns = {name: list(values) for name, values in columns.items()}
        self._enter({"do": "add", "table": table, "key": dict(key), "columns": columns})

    def add_row(self, table: str, key: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Add one row."""
        self.add(table, key, {name: [value] for name, value in row.items()})

    def replace(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace all rows of a table that does not grow."""
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
        if self._has("epochs", parts, beyond):
            self._forget(parts, beyond)

    def forget_all(self, **key: Any) -> None:
        """Remove all rows of trainings with these values, finished or not; None means null."""
        if any(self._has(table, key) for table in _UNFINISHED):
            self._forget(key, (0, 0))

    def read(self, table: str, columns: Sequence[str] | None = None, **key: Any) -> pa.Table:
        """The rows of a table so far.

        Args:
            columns: those wanted; None gives all.
            key: values of the rows wanted; None means null.
        Raises:
            InputError: a sealed file is damaged; names it.
        """
        condition = matching(key)
        sealed = self._parts[table].read(condition, columns) if table in self._parts else []
        held = self._held[table].read().filter(condition)
        if columns is None:
            return concatenated(table, [*sealed, held])
        return pa.concat_tables([*sealed, held.select(columns)], promote_options="permissive")

    def sync(self) -> None:
        """Wait until all that was entered is on the disk."""
        self._journal.sync()

    def flush_if_due(self) -> None:
        """Have what has changed written to Parquet, at most every few seconds; nothing waits for it.

        Raises:
            StudyFailedError: an earlier write failed; gives the system's reason.
        """
        if self._writing is not None and not self._writing.done():
            return
        if time.monotonic() - self._flushed_at < max(FLUSH_EVERY_S, self._flush_s / _WRITING_SHARE):
            return
        self._wait()
        if max(len(self._held[table]) for table in GROWING) >= self._seal_at:
            self._seal()
        self._write()

    def flush(self) -> None:
        """Write what has changed to Parquet, each file replaced as a whole.

        Raises:
            StudyFailedError: a file cannot be written; gives the system's reason.
        """
        self._wait()
        self._write()
        self._wait()

    def close(self) -> None:
        """Write what has changed, and close the journal."""
        try:
            self.flush()
            self._journal.sync()
        finally:
            self._writer.shutdown()
            self._journal.close()

    def _write(self) -> None:
        """Start to write what has changed."""
        self._flushed_at = time.monotonic()
        self._widen()
        changed, self._changed = self._changed, set()
        rows = {table: self._held[table].read() for table in sorted(changed)}
        self._writing = self._writer.submit(self._write_tables, rows)

    def _wait(self) -> None:
        """Wait until what was started is written, and raise what it raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write_tables(self, rows: dict[str, pa.Table]) -> None:
        started = time.monotonic()
        try:
            self._journal.sync()
            while rows:
                table = next(iter(rows))
                self._write_table(table, rows[table])
                del rows[table]
        finally:
            self._changed |= rows.keys()  # what failed is written with the next
        self._flush_s = time.monotonic() - started

    def _write_table(self, table: str, held: pa.Table) -> None:
        file = self._folder / f"{table}.parquet"
        if table in self._parts:
            self._parts[table].publish(held)
        elif table in OPTIONAL and not held.num_rows:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, held)

    def _seal(self) -> None:
        """Seal the rows of trainings that have ended, if they are many."""
        self._widen()
        ended = {table: self._of_ended(self._held[table].read()) for table in GROWING}
        if max(rows.true_count for rows in ended.values()) < PART_ROWS // 2:
            self._seal_at += PART_ROWS // 2
            return
        for table, is_ended in ended.items():
            rows = self._held[table].read()
            rest = rows.filter(pc.invert(is_ended))
            if is_ended.true_count:
                self._parts[table].seal(rows.filter(is_ended), rest)
                self._held[table].put(rest)
        self._seal_at = PART_ROWS
        self._restart()

    def _of_ended(self, rows: pa.Table) -> pa.BooleanArray:
        """Which rows are of trainings that have ended, as far as the tables of trials and folds tell."""
        ended = set(self._held["trials"].read()["number"].to_pylist())
        # A trial ends as a whole, so its folds do not matter; a long search has many.
        done = set(_identities(self._held["folds"].read().filter(pc.field("phase") != Phase.SEARCH)))
        keys = rows.select(_IDENTITY).to_pandas()
        groups = keys.groupby(_IDENTITY, dropna=False, sort=False).ngroup().to_numpy()
        _, firsts, inverse = np.unique(groups, return_index=True, return_inverse=True)
        found = [
            number in ended if phase == Phase.SEARCH else (phase, number, *others) in done
            for phase, number, *others in _identities(rows.take(firsts))
        ]
        return pa.array(np.array(found, dtype=bool)[inverse])

    def _widen(self) -> None:
        """Give all parts of a table the same columns: new ones appear with a data set of other classes."""
        self._wait()
        self._replace_parts(
            {table: parts.widen(self._held[table].read().slice(0, 0)) for table, parts in self._parts.items()}
        )

    def _forget(self, key: Mapping[str, Any], beyond: tuple[int, int]) -> None:
        self._enter({"do": "forget", "key": dict(key), "beyond": beyond})
        self._take_back()

    def _take_back(self) -> None:
        """Remove what was forgotten from the sealed parts too."""
        forgotten, self._forgotten = self._forgotten, []
        self._wait()
        for key, beyond in forgotten:
            conditions = {table: matching(key, beyond, by_epoch=table == "epochs") for table in GROWING}
            self._replace_parts({table: parts.remove(conditions[table]) for table, parts in self._parts.items()})

    def _replace_parts(self, replaced: Mapping[str, Sequence[Path]]) -> None:
        """Put on record that parts, by table, are written anew, and remove the old ones."""
        self._changed |= {table for table, files in replaced.items() if files}
        if any(replaced.values()):
            self._restart([file for files in replaced.values() for file in files])

    def _may_be_sealed(self, key: Mapping[str, Any]) -> bool:
        """Whether a training with these values has ended: others have no sealed rows."""
        if not any(parts.names for parts in self._parts.values()):
            return False
        of_trial = {name: value for name, value in key.items() if name not in ("repeat", "fold")}
        return self._holds("folds", matching(key)) or self._holds("trials", matching(of_trial))

    def _has(self, table: str, key: Mapping[str, Any], beyond: tuple[int, int] = (0, 0)) -> bool:
        """Whether a table has rows with these values."""
        condition = matching(key, beyond, by_epoch=table == "epochs")
        if self._holds(table, condition):
            return True
        return table in self._parts and self._may_be_sealed(key) and bool(self._parts[table].holding(condition))

    def _holds(self, table: str, condition: pc.Expression) -> bool:
        return self._held[table].read().filter(condition).num_rows > 0

    def _restart(self, replaced: Iterable[Path] = ()) -> None:
        """Start the journal again from what is sealed.

        Args:
            replaced: files of parts that no longer are.
        """
        self._number += 1
        others = {table: held.read() for table, held in self._held.items() if table not in GROWING}
        write_sealed(self._folder, self._number, {table: own.names for table, own in self._parts.items()}, others)
        rest = {table: self._held[table].read().to_pydict() for table in GROWING if len(self._held[table])}
        self._journal.restart(
            [
                {"do": "start", "number": self._number},
                *({"do": "add", "table": table, "key": {}, "columns": columns} for table, columns in rest.items()),
            ]
        )
        for file in replaced:
            file.unlink()
        remove_others(self._folder, self._number)

    def _enter(self, entry: dict[str, Any]) -> None:
        """Write an entry to the journal, and apply it."""
        self._journal.append(entry)
        self._apply(entry)

    def _replay(self, cut_damage: bool) -> None:
        """Apply the journal's entries; one by one if a line is damaged, which names it or cuts it off."""
        try:
            self._clear()
            replay(self._folder, self._apply, cut_damage=False)
            for held in self._held.values():
                held.read()
        except Exception:
            self._clear()
            replay(self._folder, self._apply_checked, cut_damage=cut_damage)
            self._clear()
            replay(self._folder, self._apply, cut_damage=False)

    def _clear(self) -> None:
        self._held = {name: HeldRows(name) for name in TABLES}
        self._parts, self._forgotten, self._number, self._n_entries = {}, [], 0, 0

    def _apply_checked(self, entry: Mapping[str, Any]) -> None:
        self._apply(entry)
        for held in self._held.values():
            held.read()

    def _apply(self, entry: Mapping[str, Any]) -> None:
        self._n_entries += 1
        if entry["do"] == "add":
            self._held[entry["table"]].add(entry["key"], entry["columns"])
            self._changed.add(entry["table"])
        elif entry["do"] == "replace":
            rows = entry["rows"]
            self._held[entry["table"]].put(rows_from_records(rows))
            self._changed.add(entry["table"])
        elif entry["do"] == "start":
            self._number = entry["number"]
            names, tables = read_sealed(self._folder, self._number)
            self._parts = {table: Parts(self._folder, table, own) for table, own in names.items()}
            for table, rows in tables.items():
                self._held[table].put(rows)
        else:
            key, beyond = entry["key"], entry["beyond"]
            for table in _UNFINISHED:
                self._held[table].remove(matching(key, beyond, by_epoch=table == "epochs"))
            self._forgotten.append((key, beyond))
            self._changed |= set(_UNFINISHED)


def _identities(rows: pa.Table) -> list[tuple[Any, ...]]:
    """The key of each row but for its seed."""
    return list(zip(*(rows[name].to_pylist() for name in _IDENTITY), strict=True))
