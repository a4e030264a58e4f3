"""Atomic writes: a reader sees a file as it was or as it is now, never half of it."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from search.common.errors import StudyFailedError


def write_atomically(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that a reader sees either as it was or whole."""
    replace_file(path, lambda partial: pq.write_table(table, partial))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
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
