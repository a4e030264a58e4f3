"""The journal of a study: a file of entries, one JSON object a line, that is only appended to."""

import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from search.common.errors import InputError, StudyFailedError
from search.common.files import write_text

JOURNAL = "journal.jsonl"

Entry = Mapping[str, Any]


class Journal:
    """Appends entries to the journal of a study's folder.

    An appended entry outlives the process; it also outlives the machine after `sync`.

    Args:
        folder: of the study; it exists.
    Raises:
        StudyFailedError: the file cannot be written to; gives the system's reason.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._unsynced = False
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise StudyFailedError(f"{folder}: {error.strerror}") from error

    def append(self, entry: Entry) -> None:
        """Append an entry."""
        try:
            self._file.write(_line(entry))
            self._file.flush()
        except OSError as error:
            raise StudyFailedError(f"{self._path}: {error.strerror or error}") from error
        self._unsynced = True

    def sync(self) -> None:
        """Wait until all entries are on the disk."""
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._unsynced = True
            raise StudyFailedError(f"{self._path}: {error.strerror or error}") from error

    def restart(self, entries: Iterable[Entry]) -> None:
        """Put other entries in place of all, at one instant."""
        write_text(self._path, "".join(map(_line, entries)))
        self._file.close()
        self._file = self._path.open("a", encoding="utf-8")
        self._unsynced = False

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # the error was raised when the line was written
            self._file.close()


def replay(folder: Path, apply: Callable[[Entry], None], *, cut_damage: bool) -> None:
    """Apply the entries of a folder's journal in order; a last line that was cut off is removed from the file.

    Args:
        apply: raises whatever it likes for a damaged entry.
        cut_damage: truncate a damaged journal before its first damaged line, and keep a copy of it.
    Raises:
        InputError: a line is damaged; names it.
    """
    path = folder / JOURNAL
    data = path.read_bytes() if path.exists() else b""
    kept = 0
    for number, line in enumerate(io.BytesIO(data), start=1):  # bytes.splitlines splits at more than \n
        if not line.endswith(b"\n"):
            break
        try:
            apply(json.loads(line))
        except InputError:  # of a file that the entry names
            raise
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


def started_from(first_line: bytes) -> int:
    """The number of what a journal with this first line starts from, see `search.records.sealed`; or 0."""
    entry = json.loads(first_line) if first_line else {}
    return int(entry["number"]) if entry.get("do") == "start" else 0


def _line(entry: Entry) -> str:
    return json.dumps(entry, default=str) + "\n"
