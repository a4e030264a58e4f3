"""Tables that lie beside images: CSV, TSV and JSON lines, as columns of text."""

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from search.common.errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text.

    Attributes:
        columns: name -> one value per row; columns without any value are left out.
    """

    path: Path
    columns: dict[str, list[str]]
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows below the line of column names."""
        return len(next(iter(self.columns.values())))


def read_table(path: Path) -> Table:
    """Read a table of any of the usual delimiters and encodings.

    Lines above the line of column names that do not look like a row, such as a comment, are passed over and noted.

    Raises:
        InputError: the file cannot be read, or is not a table; names it.
    """
    try:
        text = _decoded(path.read_bytes())
        lines, notes = _json_lines(text) if path.suffix.lower() == ".jsonl" else _separated(text)
    except (OSError, csv.Error, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(lines) < 2:
        raise InputError(f"{path}: no labels; it needs a line of column names and one line per image")
    header = [name or f"column {number}" for number, name in enumerate(lines[0], start=1)]
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path}: two columns are named '{repeated[0]}'")
    for row in lines[1:]:
        if any(row[len(header) :]):
            raise InputError(f"{path}: the row of '{row[0]}' has more values than the {len(header)} columns")
        row.extend([""] * (len(header) - len(row)))
    columns = {name: [row[place] for row in lines[1:]] for place, name in enumerate(header)}
    columns = {name: values for name, values in columns.items() if any(values)}
    if not columns:
        raise InputError(f"{path}: no labels; all its rows are empty")
    return Table(path=path, columns=columns, notes=tuple(f"{path.name}: {note}" for note in notes))


def _decoded(data: bytes) -> str:
    """Spreadsheets write UTF-8 with or without a byte order mark, UTF-16 with one, or the system's 8-bit code."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _separated(text: str) -> tuple[list[list[str]], list[str]]:
    """Non-empty lines by their values, at the delimiter that divides most lines into equally many."""
    width, _, lines = max(
        (_parsed(text, delimiter) for delimiter in _DELIMITERS), key=lambda each: (each[0] > 1, each[1], each[0])
    )
    first = 0
    # A title or a comment above the table has fewer values than the table has columns.
    while width > 1 and first < len(lines) and len(lines[first]) < width:
        first += 1
    notes = [f"passed over '{' '.join(filter(None, line))}' above the table" for line in lines[:first]]
    below = [line for line in lines[first + 1 :] if not (line[0].startswith("#") and len(line) < width)]
    return lines[first : first + 1] + below, notes


def _parsed(text: str, delimiter: str) -> tuple[int, int, list[list[str]]]:
    """The most common number of values in a line, how many lines have it, and the lines."""
    values = (
        [value.strip() for value in line]
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    )
    lines = [line for line in values if any(line)]
    counts = Counter(len(line) for line in lines)
    width, n_lines = counts.most_common(1)[0] if counts else (0, 0)
    return width, n_lines, lines


def _json_lines(text: str) -> tuple[list[list[str]], list[str]]:
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("every line must be an object with a value per column")
    header = list(dict.fromkeys(name for row in rows for name in row))
    cells = [["" if row.get(name) is None else str(row[name]).strip() for name in header] for row in rows]
    return [header, *cells], []
