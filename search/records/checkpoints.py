"""Where the states of running trainings are kept: one file each, replaced as a whole, removed at the end."""

import hashlib
from pathlib import Path

from search.common.files import replace_file
from search.records.schema import Key


class CheckpointFolder:
    """The checkpoints of a study; the folder is made when the first is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, key: Key, checkpoint: bytes) -> None:
        """Keep a training's state, in place of the one before.

        Raises:
            StudyFailedError: it cannot be written, with the system's reason.
        """
        replace_file(self._file(key), lambda partial: _write(partial, checkpoint))

    def load(self, key: Key) -> bytes | None:
        """The state kept of a training; None without one."""
        file = self._file(key)
        return file.read_bytes() if file.exists() else None

    def remove(self, key: Key) -> None:
        """Remove a training's state."""
        self._file(key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all, and whatever was left half written."""
        for file in self._path.glob("*") if self._path.exists() else ():
            file.unlink()

    def _file(self, key: Key) -> Path:
        # Levels are the user's words, and may hold what a file name cannot.
        level = hashlib.sha256(str(key.level).encode()).hexdigest()[:16]
        parts = [key.phase, key.number, level, key.settings, key.way, key.repeat, key.fold]
        return self._path / ("_".join("" if part is None else str(part) for part in parts) + ".safetensors")


def _write(path: Path, checkpoint: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(checkpoint)
