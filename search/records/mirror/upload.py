"""The threads that renew the lock of a study's address, and upload what changes in its working folder."""

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from search.common.errors import StudyFailedError
from search.records.mirror.lock import Lock, LockLostError
from search.records.mirror.log import LOG, Entry, number_of
from search.records.mirror.snapshot import (
    CHECKPOINTS,
    JOURNALS,
    Place,
    Signature,
    file_signature,
    files_below,
    take_snapshot,
)
from search.records.mirror.store import Store
from search.records.sealed import SEALED

EVERY_S = 2.0
HEARTBEAT_S = 30.0
GIVE_UP_S = 600.0
# Entries after which a base follows, so that a resumed study fetches few.
MOST_ENTRIES = 200


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
        self._ends: dict[str, Place] = {}
        self._sealed: set[str] = set()
        self._checked: set[tuple[str, bool]] = set()
        self._left: set[str] | None = None
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
        """Upload from now on: the folder holds a study."""
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
        starts = {} if self._n_entries % MOST_ENTRIES == 0 else self._ends
        snapshot = take_snapshot(self._folder, starts, self._links, self._others)
        checkpoints, is_base = sorted(snapshot.checkpoints), snapshot.is_base
        if not is_base and self._last == (snapshot.description, checkpoints) and not any(snapshot.texts.values()):
            return None
        earlier = self._store.names(LOG) if is_base else []
        number = max([self._number, *map(number_of, earlier)]) + 1
        entry = {"session": self._lock.session, "base": is_base, "description": snapshot.description}
        entry |= {"checkpoints": checkpoints} | {name: text.decode() for name, text in snapshot.texts.items()}
        return Entry(
            name=f"{LOG}/{number:08d}.json.gz",
            content=gzip.compress(json.dumps(entry).encode()),
            snapshot=snapshot,
            outdated=tuple(earlier),
        )

    def _write(self, entry: Entry) -> None:
        """Upload an entry after the files that it needs, and remove what it makes superfluous.

        Raises:
            LockLostError: another process has written under its number.
        """
        checkpoints = entry.snapshot.checkpoints
        for name in checkpoints.keys() - self._checkpoints:
            self._store.upload(checkpoints[name], f"{CHECKPOINTS}/{name}")
            self._checkpoints.add(name)
        for name, link in entry.snapshot.sealed.items():
            if link is not None and (signature := file_signature(link)) is not None:
                self._upload_file(link, name)
                self._others[name] = signature
        if not self._store.create(entry.name, entry.content):
            raise LockLostError("another process has taken this study over")
        self._number, self._n_entries = number_of(entry.name), self._n_entries + 1
        self._sealed = set(entry.snapshot.sealed)
        self._ends, self._last = entry.snapshot.ends, (entry.snapshot.description, sorted(checkpoints))
        if entry.outdated:  # a base: also what earlier runs have left
            self._checkpoints |= {name.rpartition("/")[2] for name in self._store.names(CHECKPOINTS)}
        for name in entry.outdated:
            self._store.remove(name)
        for name in self._checkpoints - checkpoints.keys():
            self._store.remove(f"{CHECKPOINTS}/{name}")
        self._checkpoints &= checkpoints.keys()

    def _upload_file(self, path: Path, name: str) -> None:
        """Upload a file; a table that is now a folder, or no longer one, takes the place of what it was there.

        Nothing that the log needs is removed: a table that it knows in parts is a folder here too.
        """
        table, _, part = name.partition("/")
        if table.endswith(".parquet") and (table, bool(part)) not in self._checked:
            is_file = self._store.names(table) in ([], [table])
            if is_file == bool(part):
                self._store.remove_all(table)
            self._checked.add((table, bool(part)))
        self._store.upload(path, name)

    def _upload_others(self, *, last: bool) -> None:
        """Upload files that have changed, and remove those that are gone.

        Journals, which readers do not need while the study runs, come with the last upload.
        """
        found = {name: file_signature(self._folder / name) for name in files_below(self._folder)}
        for name in JOURNALS if not last else ():
            found.pop(name, None)
        for name, signature in found.items():
            if signature is not None and self._others.get(name) != signature:
                try:
                    self._upload_file(self._folder / name, name)
                except FileNotFoundError:
                    if (self._folder / name).exists():
                        raise
                    continue  # it was removed meanwhile
                self._others[name] = signature
        if self._left is None:  # of a run that died before the log named them
            self._left = {name for name in self._store.names() if name.partition("/")[0].endswith(".parquet")}
            self._left |= set(self._store.names(SEALED))
        # A resumed study needs what is sealed.
        for name in (self._others.keys() | self._left) - found.keys() - self._sealed:
            self._store.remove(name)
            self._others.pop(name, None)
        self._left = set()
