"""A study's folder: the paths of its files, and `study.json`, its description."""

import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.common.errors import InputError
from search.common.files import write_text
from search.common.installation import ROOT
from search.records.checkpoints import CheckpointFolder

LIBRARIES = ("ray", "torch", "optuna", "scikit-learn", "numpy", "pandas", "pyarrow")
# Of the studies in a folder that was taken for one.
MOST_LISTED = 5


class StudyFolder:
    """Paths of a study, and its description as a dictionary that is written whenever it changes."""

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description

    @classmethod
    def create(cls, path: Path, description: dict[str, Any]) -> "StudyFolder":
        """Create the folder of a new study.

        Raises:
            InputError: it already exists, or cannot be created.
        """
        if path.exists():
            raise InputError(f"{path}: already exists; choose another --name, or continue it with --resume")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        folder = cls(path, {**description, "started": now(), "phases_done": [], "environment": environment()})
        folder.save()
        return folder

    @classmethod
    def open(cls, path: Path) -> "StudyFolder":
        """Open a study's folder.

        Raises:
            InputError: no study in it, or its `study.json` is damaged.
        """
        file = path / "study.json"
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: no study in this folder (no study.json){_studies_below(path)}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from error
        if not isinstance(description, dict):
            raise InputError(f"{file}: not the description of a study")
        return cls(path, description)

    @property
    def description_file(self) -> Path:
        """`study.json`."""
        return self.path / "study.json"

    @property
    def optuna_journal(self) -> Path:
        """Optuna's storage, which `optuna-dashboard` opens."""
        return self.path / "optuna.journal"

    @property
    def trace(self) -> Path:
        """The profiler's trace of one epoch, if it was requested."""
        return self.path / "trace.json.gz"

    @property
    def model(self) -> Path:
        """Folder of the winner's weights and configuration."""
        return self.path / "model"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """Checkpoints of running trainings."""
        return CheckpointFolder(self.path / "checkpoints")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from running the same study.

        Raises:
            InputError: another process is running it, or the folder cannot be written to.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.path}: another process is running this study") from None
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def is_done(self, phase: str) -> bool:
        """Whether a phase has finished."""
        return phase in self.description["phases_done"]

    def update(self, **values: Any) -> None:
        """Change entries of the description and write it."""
        self.description |= values
        self.save()

    def finish(self, phase: str) -> None:
        """Record that a phase is finished."""
        self.update(phases_done=[*self.description["phases_done"], phase])

    def save(self) -> None:
        """Write `study.json` as a whole."""
        write_text(self.description_file, json.dumps(self.description, indent=2, default=str) + "\n")


def environment() -> dict[str, Any]:
    """Versions, platform and commit that a study runs on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in (*LIBRARIES, "wbc-search")},
        "commit": _commit(),
    }


def now() -> str:
    """The time in ISO format, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> str | None:
    """The commit of the checkout that this runs from, with + if files differ; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def _studies_below(path: Path) -> str:
    """The studies in a folder of studies, the latest first, as the end of a message."""
    found = sorted(path.glob("*/study.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    names = ", ".join(str(file.parent) for file in found[:MOST_LISTED])
    more = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    return f"; there are studies in {names}{more}" if found else ""
