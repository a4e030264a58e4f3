"""Files of a data set: found in a folder and all folders below it."""

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from search.common.errors import InputError

EXTENSIONS = (".tif", ".tiff", ".bmp", ".png", ".jpg", ".jpeg")


class Files(NamedTuple):
    """Names below a folder: POSIX paths relative to it, sorted.

    Attributes:
        images: by their extension.
        others: all other files.
        odd: pipes, sockets and devices, which are never opened.
        excluded: images that a pattern leaves out.
    """

    images: list[str]
    others: list[str]
    odd: list[str]
    excluded: list[str]


def files_below(folder: Path, exclude: str | None = None) -> Files:
    """Find the images and the other files in a folder and all folders below it.

    Hidden files and folders are ignored.

    Args:
        exclude: shell pattern of images to leave out, compared with their whole names; `*` also matches slashes.
    Raises:
        InputError: the folder does not exist, is not a folder, or cannot be read, or a name in it is not text;
            names it.
    """
    try:
        if not folder.exists():
            raise InputError(f"{folder}: no such folder")
        if not folder.is_dir():
            raise InputError(f"{folder}: not a folder")
        entries = sorted(_walk(folder, "", frozenset()))
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from None
    _require_text(folder, [name for name, _ in entries])
    files = Files([], [], [], [])
    for name, regular in entries:
        if not regular:
            files.odd.append(name)
        elif PurePosixPath(name).suffix.lower() not in EXTENSIONS:
            files.others.append(name)
        elif exclude is not None and fnmatchcase(name, exclude):
            files.excluded.append(name)
        else:
            files.images.append(name)
    if exclude is not None and files.images and not files.excluded:
        raise InputError(f"--exclude '{exclude}': leaves out no image of {folder}, such as {files.images[0]}")
    return files


def _walk(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[tuple[str, bool]]:
    """Names, and whether each is an ordinary file or a link, which may be broken."""
    above |= {folder.resolve()}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield prefix + entry.name, entry.is_file() or not _is_special(path)
            elif not entry.is_symlink() or path.resolve() not in above:  # a link to a parent would never end
                yield from _walk(path, f"{prefix}{entry.name}/", above)


def _is_special(path: Path) -> bool:
    """Whether a path leads to a pipe, socket or device; reading one may never end."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # a broken link is a damaged image, which is named when it is read
    return not stat.S_ISREG(mode)


def _require_text(folder: Path, names: list[str]) -> None:
    """Refuse names that are not UTF-8: no table could hold them, and no class could be compared."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            raise InputError(
                f"{folder}: the name '{shown}' is not valid UTF-8; rename it, for example with "
                "convmv -r -f latin1 -t utf-8 --notest"
            ) from None
