"""A study kept at an address: the copy of its folder in object storage, and the lock that one process holds on it.

The study runs in a working folder on this machine. Every two seconds what has changed there is uploaded:

- `.log/00000007.json.gz`, an entry: `study.json`, both journals and the names of the checkpoints as they were at
  one instant. A base entry holds whole journals, the next ones what was appended. So whenever the process dies,
  the entries are a study that was killed at some instant, which resumes exactly.
- `checkpoints/`, each under a new name and before the entry that names it.
- everything else under its own name, for readers: tables, `study.json`, the model, the page.
"""

import errno
import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import getnode, uuid4

from platformdirs import user_cache_path

from search.common.errors import InputError, StudyFailedError
from search.data.remote import open_address, refusal
from search.data.unpack import safe_path
from search.records.ledger import JOURNAL

EVERY_S = 2.0
HEARTBEAT_S = 30.0
STALE_S = 300.0
GIVE_UP_S = 600.0
# Entries after which a base follows, so that a resumed study fetches few.
MOST_ENTRIES = 200

LOCK = ".lock"
LOG = ".log"
DESCRIPTION = "study.json"
OPTUNA = "optuna.journal"
JOURNALS = (JOURNAL, OPTUNA)
CHECKPOINTS = "checkpoints"
# What commands that read a study do not need.
UNREAD = (CHECKPOINTS, JOURNAL, "tensorboard", "wandb", "mlflow.db")

Signature = dict[str, tuple[int, int, int]]


def is_address(study: str) -> bool:
    """Whether a study is kept at an address rather than in a folder."""
    return "://" in study


class Store:
    """The objects below an address, by their relative names.

    Raises:
        InputError: a missing package, or an unknown kind of address.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._files, self._root = open_address(self.address)

    def names(self, below: str = "") -> list[str]:
        """Names of all objects, or of those in one folder."""
        self._files.invalidate_cache()
        found = self._files.find(f"{self._root}/{below}".rstrip("/"))
        names = (full[len(self._root) :].lstrip("/") for full in found)
        return sorted(name for name in names if name)  # without what marks the folder itself

    def read(self, name: str) -> bytes | None:
        """An object; None if there is none."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object, over an earlier one."""
        self._files.pipe_file(f"{self._root}/{name}", content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object; False if there is one with another content."""
        try:
            self._files.pipe_file(f"{self._root}/{name}", content, mode="create")
        except OSError as error:
            # Servers that speak S3 but do not name the condition that failed are told of as EINVAL.
            if not isinstance(error, FileExistsError) and error.errno != errno.EINVAL:
                raise
            return self.read(name) == content  # an earlier attempt may have written it, whose answer was lost
        return True

    def upload(self, path: Path, name: str) -> None:
        """Upload a file, over an earlier one."""
        self._files.put_file(str(path), f"{self._root}/{name}")

    def download(self, name: str, path: Path) -> None:
        """Download an object to a file, whose folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.get_file(f"{self._root}/{name}", str(path))

    def remove(self, name: str) -> None:
        """Remove an object."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Turn whatever a storage raises into one line that names the address."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # every storage raises errors of its own
            raise InputError(refusal(self.address, error)) from error


class LockLostError(Exception):
    """Another process has taken the study over; the message names it."""


class Lock:
    """The lock of an address, which names its holder and is renewed while it is held.

    Attributes:
        session: identity of this holding of it.
    """

    def __init__(self, store: Store) -> None:
        self.session = uuid4().hex
        self._store = store

    def take(self, say: Callable[[str], None]) -> None:
        """Take the lock, also that of a process which has not renewed it for long.

        Raises:
            InputError: another process holds it.
        """
        while not self._store.create(LOCK, self._content()):
            held = _parsed(self._store.read(LOCK))
            if held is None:
                continue  # it has just been released
            silent_s = time.time() - held["renewed"]
            holder = f"process {held['pid']} on {held['host']}"
            if silent_s < STALE_S and not _has_died(held):
                raise InputError(
                    f"{self._store.address}: {holder} is running this study, as it said {silent_s:.0f} s ago; if "
                    f"it has died, the study can be resumed {STALE_S / 60:.0f} minutes after it last said so"
                )
            say(f"{self._store.address}: taken over from {holder}, which said {silent_s:.0f} s ago that it runs")
            self._store.remove(LOCK)

    def renew(self) -> None:
        """Say that the holder is alive.

        Raises:
            LockLostError: another process has taken over.
        """
        held = _parsed(self._store.read(LOCK))
        if held is None or held["session"] != self.session:
            taker = "nobody now" if held is None else f"process {held['pid']} on {held['host']}"
            raise LockLostError(f"another process has taken this study over (held by {taker})")
        self._store.write(LOCK, self._content())

    def release(self) -> None:
        """Give the lock back, unless another process has it."""
        held = _parsed(self._store.read(LOCK))
        if held is not None and held["session"] == self.session:
            self._store.remove(LOCK)

    def _content(self) -> bytes:
        held = {**this_machine(), "pid": os.getpid(), "renewed": time.time(), "session": self.session}
        return json.dumps(held).encode()


def this_machine() -> dict[str, str]:
    """What tells this machine from others: containers may share a name, but not an address of the network too."""
    return {"host": socket.gethostname(), "machine": f"{getnode():x}"}


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


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the log, made and perhaps not written yet."""

    name: str
    content: bytes
    snapshot: Snapshot
    outdated: tuple[str, ...] = ()


class Mirror:
    """Renews the lock of an address and uploads what changes in a working folder, in threads of its own.

    Args:
        note: tells the user something.

    Attributes:
        failure: why the study cannot go on; the process is interrupted when it is set.
    """

    def __init__(self, store: Store, lock: Lock, folder: Path, note: Callable[[str], None]) -> None:
        self._store, self._lock, self._folder, self._note = store, lock, folder, note
        self._links = folder.parent / "links"
        self._number, self._n_entries = 0, 0
        self._ends: dict[str, int] = {}
        self._last: tuple[str, list[str]] | None = None
        self._pending: Entry | None = None
        self._checkpoints: set[str] = set()
        self._others: Signature = {}
        self._reached_at, self._is_reached = time.monotonic(), True
        self._following, self._ending, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._follow, self._keep_lock)]
        self.failure: str | None = None
        for thread in self._threads:
            thread.start()

    def follow(self, note: Callable[[str], None]) -> None:
        """Upload from now on: the folder holds a study, whose journals are only appended to."""
        self._note, self._reached_at = note, time.monotonic()
        self._following.set()

    def close(self) -> None:
        """Upload all that is left.

        Raises:
            StudyFailedError: it cannot be uploaded; says what to do.
        """
        try:
            self._ending.set()
            self._threads[0].join()
            while self._following.is_set() and self.failure is None and not self._attempt(last=True):
                time.sleep(EVERY_S)
        finally:
            self._closed.set()
            self._threads[1].join()
        if self.failure is not None:
            raise StudyFailedError(self.failure)

    def _follow(self) -> None:
        while self.failure is None and not self._ending.wait(EVERY_S):
            if self._following.is_set() and not self._attempt() and self.failure is not None:
                os.kill(os.getpid(), signal.SIGINT)  # the study stops as after Ctrl-C

    def _keep_lock(self) -> None:
        while self.failure is None and not self._closed.wait(HEARTBEAT_S):
            try:
                self._lock.renew()
            except LockLostError as error:
                self._lose(error)
                os.kill(os.getpid(), signal.SIGINT)
            except Exception:  # every storage raises errors of its own; the uploads tell of them
                continue

    def _attempt(self, *, last: bool = False) -> bool:
        """Upload what has changed; after an error, the next attempt does it."""
        try:
            self._upload(last=last)
        except LockLostError as error:
            self._lose(error)
            return False
        except Exception as error:  # every storage raises errors of its own
            silent_s = time.monotonic() - self._reached_at
            reason = f"{self._store.address}: cannot be written to: {type(error).__name__}: {error}"
            if silent_s > GIVE_UP_S:
                self.failure = (
                    f"{reason}; given up after {silent_s / 60:.0f} minutes; all results are in {self._folder}, "
                    f"and --resume {self._store.address} on this machine goes on from them"
                )
            elif self._is_reached:
                self._note(f"{' '.join(reason.split())}; trying again for {GIVE_UP_S / 60:.0f} minutes")
            self._is_reached = False
            return False
        self._reached_at, self._is_reached = time.monotonic(), True
        return True

    def _lose(self, error: LockLostError) -> None:
        self.failure = f"{self._store.address}: {error}; this process stops, and its last results are not kept"

    def _upload(self, *, last: bool) -> None:
        entry = self._pending or self._next()
        while entry is not None:
            self._pending = entry  # written again as it is, should the answer be lost
            self._write(entry)
            self._pending = None
            entry = self._next() if last else None
        self._upload_others(last=last)

    def _next(self) -> Entry | None:
        """The next entry of the log; None if nothing has changed."""
        is_base = self._n_entries % MOST_ENTRIES == 0
        snapshot = take_snapshot(self._folder, {} if is_base else self._ends, self._links)
        checkpoints = sorted(snapshot.checkpoints)
        if not is_base and self._last == (snapshot.description, checkpoints) and not any(snapshot.texts.values()):
            return None
        earlier = self._store.names(LOG) if is_base else []
        number = max([self._number, *map(_number, earlier)]) + 1
        entry = {"session": self._lock.session, "base": is_base, "description": snapshot.description}
        entry |= {"checkpoints": checkpoints} | {name: text.decode() for name, text in snapshot.texts.items()}
        return Entry(
            name=f"{LOG}/{number:08d}.json.gz",
            content=gzip.compress(json.dumps(entry).encode()),
            snapshot=snapshot,
            outdated=tuple(earlier),
        )

    def _write(self, entry: Entry) -> None:
        """Upload an entry after the checkpoints that it names, and remove what it makes superfluous.

        Raises:
            LockLostError: another process has written under its number.
        """
        checkpoints = entry.snapshot.checkpoints
        for name in checkpoints.keys() - self._checkpoints:
            self._store.upload(checkpoints[name], f"{CHECKPOINTS}/{name}")
            self._checkpoints.add(name)
        if not self._store.create(entry.name, entry.content):
            raise LockLostError("another process has taken this study over")
        self._number, self._n_entries = _number(entry.name), self._n_entries + 1
        self._ends, self._last = entry.snapshot.ends, (entry.snapshot.description, sorted(checkpoints))
        if entry.outdated:  # a base: also what earlier runs have left
            self._checkpoints |= {name.rpartition("/")[2] for name in self._store.names(CHECKPOINTS)}
        for name in entry.outdated:
            self._store.remove(name)
        for name in self._checkpoints - checkpoints.keys():
            self._store.remove(f"{CHECKPOINTS}/{name}")
        self._checkpoints &= checkpoints.keys()

    def _upload_others(self, *, last: bool) -> None:
        """Upload files that have changed, and remove those that are gone.

        Journals, which readers do not need while the study runs, come with the last upload.
        """
        found = {name: _stat(self._folder / name) for name in _files_below(self._folder)}
        for name in JOURNALS if not last else ():
            found.pop(name, None)
        for name, signature in found.items():
            if signature is not None and self._others.get(name) != signature:
                try:
                    self._store.upload(self._folder / name, name)
                except FileNotFoundError:
                    if (self._folder / name).exists():
                        raise
                    continue  # it was removed meanwhile
                self._others[name] = signature
        for name in self._others.keys() - found.keys():
            self._store.remove(name)
            del self._others[name]


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
    session = _read_entry(store, entries[-1])["session"]
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
        entry = _read_entry(store, number)
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


def local_copy(study: str) -> Path:
    """The folder of a study; of one at an address, a copy as it is now of what commands read.

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
        _download(store, names, copy)
    return copy


def _download(store: Store, names: Iterable[str], folder: Path) -> None:
    for name in names:
        if safe_path(name) is None:
            raise InputError(f"{store.address}: '{name}' leads out of the study's folder")
        store.download(name, folder / name)


def _read_entry(store: Store, name: str) -> dict[str, Any]:
    content = store.read(name)
    if content is None:
        raise InputError(f"{store.address}: {name} is gone; another process writes there")
    entry: dict[str, Any] = json.loads(gzip.decompress(content))
    return entry


def _parsed(lock: bytes | None) -> dict[str, Any] | None:
    held: dict[str, Any] | None = None if lock is None else json.loads(lock)
    return held


def _has_died(held: Mapping[str, Any]) -> bool:
    """Whether the holder of a lock was a process of this machine that is no more."""
    if any(held.get(name) != value for name, value in this_machine().items()):
        return False
    try:
        os.kill(held["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # there is one, of another user
        return False
    return False


def _number(entry: str) -> int:
    return int(Path(entry).name.partition(".")[0])


def _own_folder(purpose: str, address: str) -> Path:
    """A folder with the study's name, which is alone in one that belongs to the address."""
    own = hashlib.sha256(address.encode()).hexdigest()[:12]
    return user_cache_path("wbc-search") / purpose / own / address.rpartition("/")[2]


def _session_file(path: Path) -> Path:
    """Which run at the address the working folder was last used by."""
    return path.parent / "session"


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
    found = {path.relative_to(folder).as_posix(): _stat(path) for path in paths}
    return {name: signature for name, signature in found.items() if signature is not None}


def _stat(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _files_below(folder: Path) -> list[str]:
    """Relative names of all files but hidden ones, checkpoints and the lock of Optuna's journal."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [
        name.as_posix()
        for name in names
        if name.parts[0] != CHECKPOINTS
        and not name.name.startswith(f"{OPTUNA}.lock")
        and not any(part.startswith(".") for part in name.parts)
    ]
