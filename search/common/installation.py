"""The places of this program's own files, whichever module asks for them."""

from importlib.resources import files
from pathlib import Path

ROOT = Path(str(files("search"))).parent
"""Folder that holds the packages: a checkout, or where pip put them."""
SPACES = ROOT / "spaces"
PACKAGES = ("search", "wbcmodels")


def code_files(root: Path = ROOT) -> list[Path]:
    """All modules that a study's results can depend on, in an order that does not depend on the machine.

    Raises:
        FileNotFoundError: a package has no modules, so that a digest of them would say nothing.
    """
    files: list[Path] = []
    for package in PACKAGES:
        found = sorted((root / package).rglob("*.py"))
        if not found:
            raise FileNotFoundError(f"{root / package}: no Python files")
        files += found
    return files
