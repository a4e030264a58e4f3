"""The lock that one process holds on the address of a study."""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import getnode, uuid4

from search.common.errors import InputError
from search.records.mirror.store import Store

LOCK = ".lock"
STALE_S = 300.0


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
