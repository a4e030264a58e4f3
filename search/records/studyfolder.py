"""A study's folder: where its files are, and `study.json`, which says what it is."""

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

# What a study's description says from the study's start.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("arguments", "plan", "data", "origin", "environment"), dict),
    **dict.fromkeys(("levels", "phases_done"), list),
    **dict.fromkeys(("question", "reference", "started"), str),
    "factor": (str, type(None)),
}


class StudyFolder:
    """Paths of a study, and its description as a dictionary that is written whenever it changes."""

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description

    @classmethod
    def create(cls, path: Path, description: dict[str, Any]) -> "StudyFolder":
        """Make a new study's folder.

        Raises:
            InputError: it exists, or cannot be made.
        """
        if path.exists():
            raise InputError(f"{path}: it exists already; --name gives another one, --resume goes on with it")
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
            InputError: there is no study in it.
        """
        file = path / "study.json"
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: there is no study in it (no study.json)") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{file}: it cannot be read: {error}") from error
        if not isinstance(description, dict):
            raise InputError(f"{file}: it describes no study")
        return cls(path, description)

    def require(self, *names: str) -> None:
        """Make sure that the description says what a reader needs.

        Raises:
            InputError: it does not; names the first thing it lacks.
        """
        for name in names:
            if name not in self.description or not isinstance(self.description[name], _KINDS[name]):
                raise InputError(f"{self.path / 'study.json'}: it describes no study (no {name})")

    @property
    def optuna_journal(self) -> Path:
        """What `optuna-dashboard` opens."""
        return self.path / "optuna.journal"

    @property
    def trace(self) -> Path:
        """What one epoch's time went into, where that was asked for."""
        return self.path / "trace.json.gz"

    @property
    def model(self) -> Path:
        """Folder of the winner's weights and configuration."""
        return self.path / "model"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """States of running trainings."""
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
        """Change the description and write it."""
        self.description |= values
        self.save()

    def finish(self, phase: str) -> None:
        """Note that a phase is finished."""
        self.update(phases_done=[*self.description["phases_done"], phase])

    def save(self) -> None:
        """Write `study.json` as a whole."""
        write_text(self.path / "study.json", json.dumps(self.description, indent=2, default=str) + "\n")


def environment() -> dict[str, Any]:
    """Versions, platform and commit that a study runs with."""
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
    """The commit of the checkout this runs from, with + where files differ; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
