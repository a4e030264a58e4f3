"""What a study's results follow from besides its arguments, and what of it has changed when it goes on."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from search.common.installation import ROOT, code_files
from search.space import space_file

# A change of these may change results; others only carry them.
LIBRARIES = ("torch", "optuna", "scikit-learn", "numpy")


def origin(space: str, root: Path = ROOT) -> dict[str, Any]:
    """Digests of the space's file and of this program's code, and versions of libraries.

    Args:
        root: folder that holds the program's packages.
    """
    return {
        "space": _digest([space_file(space)]),
        "code": _digest(code_files(root)),
        **{name: version(name) for name in LIBRARIES},
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, in words, of two origins."""
    words = {"space": "the space's file is another", "code": "the program's code is another"}
    return [
        words.get(name, f"{name} is {now[name]} and was {then.get(name)}")
        for name in now
        if then.get(name) != now[name]
    ]


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
