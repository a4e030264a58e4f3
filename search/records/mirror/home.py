"""The home of a study, a folder or an address, while it runs; and copies of studies at addresses."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from search.common.errors import InputError
from search.data.unpack import safe_path
from search.records.journal import JOURNAL
from search.records.mirror.lock import LOCK, Lock
from search.records.mirror.log import LOG, read_entry
from search.records.mirror.snapshot import CHECKPOINTS, DESCRIPTION, JOURNALS
from search.records.mirror.store import Store, is_address
from search.records.mirror.upload import Mirror
from search.records.sealed import SEALED

# What commands that read a study do not need.
UNREAD = (CHECKPOINTS, JOURNAL, SEALED, "tensorboard", "wandb", "mlflow.db")


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a study's files are.

    Attributes:
        path: its folder, or the working folder of an address.
        address: what it is resumed by; of a folder, its path.
        mirror: uploads the working folder; None for a folder.
    """

    path: Path
    address: str
    mirror: Mirror | None = None


@contextmanager
def study_home(study: str, *, new: bool, say: Callable[[str], None]) -> Iterator[Home]:
    """Open the home of a study: lock an address, fetch what is there, and upload what changes until the end.

    Args:
        study: a folder or an address.
        new: nothing may be there yet.
        say: prints a line for the user.
    Raises:
        InputError: no access, another process holds the study, or there already is or is not one.
        StudyFailedError: the address could not be reached for long, or another process has taken over.
    """
    if not is_address(study):
        path = Path(study).absolute()
        yield Home(path=path, address=str(path))
        return
    store = Store(study)
    lock, path = Lock(store), _own_folder("studies", store.address)
    with store.errors_told():
        lock.take(say)
    try:
        with store.errors_told():
            _prepare(store, path, new=new)
        _session_file(path).write_text(lock.session, encoding="utf-8")
        mirror = Mirror(store, lock, path, say)
        try:
            yield Home(path=path, address=store.address, mirror=mirror)
        finally:
            mirror.close()
    finally:
        with suppress(Exception):  # it becomes stale
            lock.release()


def _prepare(store: Store, path: Path, *, new: bool) -> None:
    """Make the working folder as the study at the address is.

    One in which the last run at the address was made is at least as new, and stays.
    """
    entries = store.names(LOG)
    if new:
        if store.names() != [LOCK]:
            raise InputError(f"{store.address}: already exists; choose another --name, or --resume it")
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir(parents=True)
        return
    if not entries:
        raise InputError(f"{store.address}: no study there that --output has made")
    session = read_entry(store, entries[-1])["session"]
    file = _session_file(path)
    if not (path / DESCRIPTION).exists() or not file.exists() or file.read_text(encoding="utf-8") != session:
        shutil.rmtree(path.parent, ignore_errors=True)
        path.mkdir(parents=True)
        fetch_study(store, path)


def fetch_study(store: Store, path: Path) -> None:
    """Download a study as it was at the instant of its last entry.

    Args:
        path: an empty folder.
    """
    names = store.names()
    entries = [name for name in names if name.startswith(f"{LOG}/")]
    entry: dict[str, Any] = {}
    journals: dict[str, str] = {}
    for number in entries:  # those before a base may be partly removed
        entry = read_entry(store, number)
        for name in JOURNALS:
            journals[name] = ("" if entry["base"] else journals.get(name, "")) + entry[name]
    hidden = (f"{LOG}/", f"{CHECKPOINTS}/", LOCK)
    _download(store, [n for n in names if not n.startswith(hidden) and n not in (*JOURNALS, DESCRIPTION)], path)
    for name in entry["checkpoints"]:
        if Path(name).name != name:
            raise InputError(f"{store.address}: '{name}' is no name of a checkpoint")
        store.download(f"{CHECKPOINTS}/{name}", path / CHECKPOINTS / name.rpartition(".")[0])
    for name, text in {**journals, DESCRIPTION: entry["description"]}.items():
        if text:
            (path / name).write_bytes(text.encode())


def local_copy(study: str, only: str = "") -> Path:
    """The folder of a study; of one at an address, a copy as it is now of what commands read.

    Args:
        only: the files whose names begin like this are copied, such as "model/".

    Raises:
        InputError: no access to the address, or no study there.
    """
    if not is_address(study):
        return Path(study)
    store = Store(study)
    copy = _own_folder("copies", store.address)
    with store.errors_told():
        names = [name for name in store.names() if name.partition("/")[0] not in (LOCK, LOG, *UNREAD)]
        if DESCRIPTION not in names:
            raise InputError(f"{store.address}: no study there")
        shutil.rmtree(copy, ignore_errors=True)
        _download(store, [name for name in names if name.startswith(only)], copy)
    return copy


def _download(store: Store, names: Iterable[str], folder: Path) -> None:
    for name in names:
        if safe_path(name) is None:
            raise InputError(f"{store.address}: '{name}' leads out of the study's folder")
        store.download(name, folder / name)


def _own_folder(purpose: str, address: str) -> Path:
    """A folder with the study's name, which is alone in one that belongs to the address."""
    own = hashlib.sha256(address.encode()).hexdigest()[:12]
    return user_cache_path("wbc-search") / purpose / own / address.rpartition("/")[2]


def _session_file(path: Path) -> Path:
    """Which run at the address the working folder was last used by."""
    return path.parent / "session"
