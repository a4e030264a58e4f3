"""The provenance of a study's results besides its arguments: its space, this program's code and its libraries."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from search.common.installation import ROOT, code_files
from search.space.load import space_file

# The libraries that can change results; the others only carry them.
LIBRARIES = ("torch", "optuna", "scikit-learn", "numpy")


def provenance(space: str, root: Path = ROOT) -> dict[str, Any]:
    """Digests of the space's file and of this program's code, and versions of libraries.

    Args:
        root: folder that holds the program's packages.
    """
    return {
        "space": _digest([space_file(space)]),
        "code": _digest(code_files(root)),
        **{name: version(name) for name in LIBRARIES},
    }


def provenance_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences between two provenances, in words."""
    digests = {"space": "the space's file has changed", "code": "the program's code has changed"}
    return [
        digests.get(name, f"{name} has changed from {before.get(name, 'unknown')} to {now[name]}")
        for name in now
        if before.get(name) != now[name]
    ]


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
