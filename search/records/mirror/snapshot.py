"""A study's folder at one instant, while another thread writes to it."""

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search.records.ledger import JOURNAL

DESCRIPTION = "study.json"
OPTUNA = "optuna.journal"
JOURNALS = (JOURNAL, OPTUNA)
CHECKPOINTS = "checkpoints"

Signature = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study's state at one instant.

    Attributes:
        texts: by journal, its whole lines from a given place on.
        ends: by journal, the place after them.
        checkpoints: name there -> a link to the file as it was.
    """

    description: str
    texts: dict[str, bytes]
    ends: dict[str, int]
    checkpoints: dict[str, Path]


def take_snapshot(folder: Path, starts: Mapping[str, int], links: Path) -> Snapshot:
    """The state of a study that another thread writes, at one instant: nothing has changed while it was read.

    Args:
        starts: by journal, where to begin; without it, at its beginning.
        links: folder on the same disk, for links to the checkpoints; emptied.
    """
    while True:
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir()
        with suppress(FileNotFoundError):  # it was removed meanwhile
            before = _signature(folder)
            texts, ends = {}, {}
            for name in JOURNALS:
                texts[name] = _whole_lines(folder / name, starts.get(name, 0))
                ends[name] = starts.get(name, 0) + len(texts[name])
            description = (folder / DESCRIPTION).read_text(encoding="utf-8")
            checkpoints = {}
            for name, (_, size, changed_ns) in before.items():
                if name.startswith(f"{CHECKPOINTS}/"):
                    own = f"{Path(name).name}.{changed_ns:x}-{size:x}"
                    (links / own).hardlink_to(folder / name)
                    checkpoints[own] = links / own
            if _signature(folder) == before:
                return Snapshot(description=description, texts=texts, ends=ends, checkpoints=checkpoints)
        time.sleep(0.01)


def _whole_lines(path: Path, start: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    return data[: data.rfind(b"\n") + 1]


def _signature(folder: Path) -> Signature:
    paths = [folder / name for name in (DESCRIPTION, *JOURNALS)]
    paths += [path for path in (folder / CHECKPOINTS).glob("*") if not path.name.startswith(".")]
    found = {path.relative_to(folder).as_posix(): file_signature(path) for path in paths}
    return {name: signature for name, signature in found.items() if signature is not None}


def file_signature(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def files_below(folder: Path) -> list[str]:
    """Relative names of all files but hidden ones, checkpoints and the lock of Optuna's journal."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [
        name.as_posix()
        for name in names
        if name.parts[0] != CHECKPOINTS
        and not name.name.startswith(f"{OPTUNA}.lock")
        and not any(part.startswith(".") for part in name.parts)
    ]
