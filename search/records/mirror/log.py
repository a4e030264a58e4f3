"""The log of a study at an address: entries that together are the study, whenever its process dies."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.common.errors import InputError
from search.records.mirror.snapshot import Snapshot
from search.records.mirror.store import Store

LOG = ".log"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the log, made and perhaps not written yet."""

    name: str
    content: bytes
    snapshot: Snapshot
    outdated: tuple[str, ...] = ()


def read_entry(store: Store, name: str) -> dict[str, Any]:
    """The content of an entry.

    Raises:
        InputError: it is gone.
    """
    content = store.read(name)
    if content is None:
        raise InputError(f"{store.address}: {name} is gone; another process writes there")
    entry: dict[str, Any] = json.loads(gzip.decompress(content))
    return entry


def number_of(entry: str) -> int:
    """The number in an entry's name."""
    return int(Path(entry).name.partition(".")[0])
