"""Locations of the program's own files."""

from importlib.resources import files
from pathlib import Path

ROOT = Path(str(files("search"))).parent
"""Folder of the packages: a checkout, or the folder that pip installed them to."""
SPACES = ROOT / "spaces"
PACKAGES = ("search", "wbcmodels")


def code_files(root: Path = ROOT) -> list[Path]:
    """All modules that a study's results can depend on, in the same order on every machine.

    Raises:
        FileNotFoundError: a package without modules; a digest of no files would hide every change.
    """
    files: list[Path] = []
    for package in PACKAGES:
        found = sorted((root / package).rglob("*.py"))
        if not found:
            raise FileNotFoundError(f"{root / package}: no Python files")
        files += found
    return files
