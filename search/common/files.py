"""Atomic writes: a reader sees either the old file or the new one, never a part of one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from search.common.errors import InputError, StudyFailedError


def write_atomically(path: Path, table: pa.Table, partials: Path | None = None) -> None:
    """Write a table as a Parquet file; for `partials` see `replace_file`."""
    replace_file(path, lambda partial: pq.write_table(table, partial), partials)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], object], partials: Path | None = None) -> None:
    """Let `write` create a temporary file, then move it to the path.

    Args:
        partials: folder of the temporary file, on the same disk; by default that of the path.
    Raises:
        StudyFailedError: the file cannot be written; names the path and the system's reason.
    """
    partial = (partials or path.parent) / f".{path.name}.partial"
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


def replace_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write into a new folder, then move it to the path, in place of a file or of nothing.

    Raises:
        StudyFailedError: it cannot be written; names the path and the system's reason.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fill(partial)
        path.unlink(missing_ok=True)
        partial.rename(path)
    except OSError as error:
        raise StudyFailedError(f"{path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise InputError that names a file where it cannot be read."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
