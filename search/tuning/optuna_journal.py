"""Optuna's journal file, opened so that neither a kill nor Ctrl-C leaves it unusable."""

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from search.common.errors import InputError


def journal_storage(path: Path) -> optuna.storages.JournalStorage:
    """Open Optuna's journal, or create it.

    The caller holds the study's lock. A last line that was cut off is removed, since the next would be appended to
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
                    f"{path}: line {number} is damaged; --force rebuilds the file from the recorded trials"
                ) from None
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink()
    return optuna.storages.JournalStorage(_Journal(str(path)))


class _Journal(JournalFileBackend):
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        # A KeyboardInterrupt inside Optuna's lock turns into an OSError or RuntimeError of its own.
        with interrupts_deferred():
            super().append_logs(logs)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Have SIGINT and SIGTERM wait until the block has ended."""
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda signum, frame: received.append(signum))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
