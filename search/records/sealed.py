"""What is sealed of a study: names of the parts of growing tables, and the other tables as they are.

A folder `sealed/00003` is written as a whole, and the journal that starts again after it names it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from search.common.files import readable, replace_folder, write_atomically, write_text

SEALED = "sealed"
_PARTS = "parts.json"

Names = dict[str, list[str]]


def write_sealed(folder: Path, number: int, parts: Names, tables: Mapping[str, pa.Table]) -> None:
    """Write what is sealed.

    Args:
        folder: of the study.
        number: of the new folder.
        parts: file names by growing table.
        tables: all others.
    Raises:
        StudyFailedError: it cannot be written; gives the system's reason.
    """

    def fill(partial: Path) -> None:
        write_text(partial / _PARTS, json.dumps(parts))
        for name, rows in tables.items():
            write_atomically(partial / f"{name}.parquet", rows)

    replace_folder(_folder(folder, number), fill)


def read_sealed(folder: Path, number: int) -> tuple[Names, dict[str, pa.Table]]:
    """The file names by growing table, and all other tables.

    Raises:
        InputError: a file is missing or damaged; names it.
    """
    sealed = _folder(folder, number)
    with readable(sealed / _PARTS):
        parts: Names = json.loads((sealed / _PARTS).read_text(encoding="utf-8"))
    tables = {}
    for file in sealed.glob("*.parquet"):
        with readable(file):
            tables[file.stem] = pq.read_table(file)
    return parts, tables


def sealed_files(folder: Path, number: int) -> list[str]:
    """All files that a journal starts from, relative to the study's folder."""
    parts: Names = json.loads((_folder(folder, number) / _PARTS).read_text(encoding="utf-8"))
    own = [file.relative_to(folder).as_posix() for file in _folder(folder, number).iterdir()]
    return own + [f"{table}.parquet/{name}" for table, names in parts.items() for name in names]


def latest_sealed(folder: Path) -> int:
    """The highest number; 0 if nothing is sealed."""
    return max((int(path.name) for path in (folder / SEALED).glob("[0-9]*")), default=0)


def remove_others(folder: Path, number: int) -> None:
    """Remove all that is sealed under other numbers."""
    for path in (folder / SEALED).glob("*"):
        if path != _folder(folder, number):
            shutil.rmtree(path)


def _folder(folder: Path, number: int) -> Path:
    return folder / SEALED / f"{number:05d}"
