"""A study's folder at one instant, while another thread writes to it."""

import shutil
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search.records.journal import JOURNAL, started_from
from search.records.sealed import sealed_files

DESCRIPTION = "study.json"
OPTUNA = "optuna.journal"
JOURNALS = (JOURNAL, OPTUNA)
CHECKPOINTS = "checkpoints"

Signature = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Place:
    """A place in a journal, which starts again with another first line."""

    first_line: bytes
    offset: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study's state at one instant.

    Attributes:
        is_base: the journals are whole.
        texts: by journal, its whole lines, or those from a given place on.
        ends: by journal, the place after them.
        checkpoints: name there -> a link to the file as it was.
        sealed: files that the journal starts from, by their names in the study's folder: links, or None if known.
    """

    description: str
    is_base: bool
    texts: dict[str, bytes]
    ends: dict[str, Place]
    checkpoints: dict[str, Path]
    sealed: dict[str, Path | None]


def take_snapshot(folder: Path, starts: Mapping[str, Place], links: Path, known: Container[str]) -> Snapshot:
    """The state of a study that another thread writes, at one instant: nothing has changed while it was read.

    Args:
        starts: by journal, where to begin; without it, and where one has started again, they are taken whole.
        links: folder on the same disk, for links to the files; emptied.
        known: names of sealed files that need no link.
    """
    while True:
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir()
        with suppress(FileNotFoundError):  # it was removed meanwhile
            before = _signature(folder)
            firsts = {name: _first_line(folder / name) for name in JOURNALS}
            is_base = any(name not in starts or starts[name].first_line != firsts[name] for name in JOURNALS)
            texts, ends = {}, {}
            for name in JOURNALS:
                start = 0 if is_base else starts[name].offset
                texts[name] = _whole_lines(folder / name, start)
                ends[name] = Place(firsts[name], start + len(texts[name]))
            description = (folder / DESCRIPTION).read_text(encoding="utf-8")
            checkpoints = {}
            for name, (_, size, changed_ns) in before.items():
                if name.startswith(f"{CHECKPOINTS}/"):
                    own = f"{Path(name).name}.{changed_ns:x}-{size:x}"
                    checkpoints[own] = _link(folder / name, links / own)
            number = started_from(firsts[JOURNAL])
            sealed = {
                name: None if name in known else _link(folder / name, links / f"sealed-{place}")
                for place, name in enumerate(sealed_files(folder, number) if number else ())
            }
            if _signature(folder) == before:
                return Snapshot(
                    description=description,
                    is_base=is_base,
                    texts=texts,
                    ends=ends,
                    checkpoints=checkpoints,
                    sealed=sealed,
                )
        time.sleep(0.01)


def _link(file: Path, link: Path) -> Path:
    link.hardlink_to(file)
    return link


def _first_line(path: Path) -> bytes:
    """The first line of a file; nothing if there is none."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        line = file.readline()
    return line if line.endswith(b"\n") else b""


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
