"""Optuna's journal file, opened so that a run that was killed leaves nothing in the way of the next."""

import io
import json
import os
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from search.common.errors import InputError


def journal_storage(path: Path) -> optuna.storages.JournalStorage:
    """Open Optuna's journal, or begin one.

    The caller holds the study's lock. A last line that was cut off is removed, since the next would be glued to
    it, and so is the lock of a process that was killed while it wrote.

    Raises:
        InputError: another line is damaged; names it.
    """
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
        for number, line in enumerate(io.BytesIO(data[:whole]), start=1):
            try:
                json.loads(line)
            except ValueError:
                raise InputError(
                    f"{path}: line {number} is damaged; --force makes the file anew from the trials on record"
                ) from None
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink()
    return optuna.storages.JournalStorage(JournalFileBackend(str(path)))


def interrupts(error: BaseException) -> bool:
    """Whether it comes of a Ctrl-C that broke into Optuna's lock, which then raises an error of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None
