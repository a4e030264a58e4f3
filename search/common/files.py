"""Atomic writes: a reader sees either the old file or the new one, never a part of one."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from search.common.errors import StudyFailedError


def write_atomically(path: Path, table: pa.Table) -> None:
    """Write a table as a Parquet file."""
    replace_file(path, lambda partial: pq.write_table(table, partial))


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` create a temporary file next to the path, then move it to the path.

    Raises:
        StudyFailedError: the file cannot be written; names the path and the system's reason.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        raise StudyFailedError(f"{path}: {error.strerror or error}") from error
    finally:  # also after Ctrl-C
        with suppress(OSError):  # the file system may refuse the removal as well
            partial.unlink(missing_ok=True)
