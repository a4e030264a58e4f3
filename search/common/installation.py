"""Locations of the program's own files."""

from importlib.resources import files
from pathlib import Path

ROOT = Path(str(files("search"))).parent
"""Folder of the packages: a checkout, or the folder that pip installed them to."""
# Where pip installs the spaces: at the top, another distribution is called `spaces`.
_INSTALLED = Path("search", "spaces")
SPACES = ROOT / (_INSTALLED if (ROOT / _INSTALLED).is_dir() else "spaces")
PACKAGES = ("search", "wbcmodels")


def code_files(root: Path = ROOT) -> list[Path]:
    """All modules that a study's results can depend on but for the spaces, in the same order on every machine.

    Raises:
        FileNotFoundError: a package without modules; a digest of no files would hide every change.
    """
    files: list[Path] = []
    for package in PACKAGES:
        found = sorted(file for file in (root / package).rglob("*.py") if file.parent != root / _INSTALLED)
        if not found:
            raise FileNotFoundError(f"{root / package}: no Python files")
        files += found
    return files
