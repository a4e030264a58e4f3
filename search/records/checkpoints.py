"""Checkpoints of running trainings: one file each, replaced as a whole and removed when the training ends."""

import hashlib
from pathlib import Path

from search.common.files import replace_file
from search.records.schema import Key


class CheckpointFolder:
    """The checkpoints of a study. The folder is created with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, key: Key, checkpoint: bytes) -> None:
        """Write a training's checkpoint in place of the previous one.

        Raises:
            StudyFailedError: it cannot be written; gives the system's reason.
        """
        replace_file(self._file(key), lambda partial: _write(partial, checkpoint))

    def load(self, key: Key) -> bytes | None:
        """A training's checkpoint; None without one."""
        file = self._file(key)
        return file.read_bytes() if file.exists() else None

    def remove(self, key: Key) -> None:
        """Remove a training's checkpoint."""
        self._file(key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all checkpoints, and files left half written."""
        for file in self._path.glob("*") if self._path.exists() else ():
            file.unlink()

    def _file(self, key: Key) -> Path:
        # Level names are the user's, and may hold what a file name cannot. The seed follows from the rest.
        level = hashlib.sha256(str(key.level).encode()).hexdigest()[:16]
        parts = [key.phase, key.number, level, key.setting, key.way, key.repeat, key.fold]
        return self._path / ("_".join("" if part is None else str(part) for part in parts) + ".safetensors")


def _write(path: Path, checkpoint: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(checkpoint)
