"""Archives from elsewhere, unpacked without trust: plain files only, all of them below one folder."""

import errno
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from search.common.errors import InputError

MOST_FILES = 1_000_000
# Images are compressed already: an archive that grows a hundredfold is a bomb, unless it is tiny anyway.
MOST_GROWTH = 100
ALWAYS_ALLOWED_BYTES = 256 * 2**20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that Python lacks
    RuntimeError,  # a password
    ValueError,  # such as a name in no encoding
    struct.error,
)


class BadArchiveError(InputError):
    """The archive is damaged or malicious, or holds none of the wanted files: a new copy is needed."""


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    size_bytes: int
    is_plain: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, *, keep: str = "(.*)") -> int:
    """Unpack a zip or tar archive into a new folder, which appears only once it is complete.

    Every member is checked, also those that are not kept, and written as a plain file. Links are refused
    altogether: data sets need none, and Python's checks of where they lead have had gaps. Hidden files are left
    out.

    Args:
        archive: a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file, recognised by its content.
        folder: does not exist, or is empty.
        keep: regular expression that matches the whole path of each wanted member; its group that matched is the
            file's path in the folder.
    Returns:
        The number of files.
    Raises:
        BadArchiveError: the archive is damaged; holds a link, a device or a path that leads out of the folder;
            unpacks to too much; or has no wanted member. Names the archive and the member.
        OSError: the disk is full, or a file cannot be written.
    """
    staged = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        n_files = _unpack(archive, staged, re.compile(keep))
        if not n_files:
            raise BadArchiveError(f"{archive}: holds none of the expected files; its layout may have changed")
        staged.rename(folder)
    except (*_DAMAGE, OSError) as error:
        # Damaged archives make zipfile seek to nowhere, and gzip and bz2 raise errors without a number.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise BadArchiveError(f"{archive}: a damaged archive, or one of an unknown kind: {error}") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return n_files


def safe_path(name: str) -> PurePosixPath | None:
    """A relative path from elsewhere; None if it is absolute or leads out of its folder."""
    plain = name.replace("\\", "/")  # as some programs on Windows write it
    path = PurePosixPath(plain)
    out = not path.parts or path.is_absolute() or ".." in path.parts or PureWindowsPath(plain).drive
    return None if out else path


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a system left it there: it, or a folder above it, is hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _unpack(archive: Path, folder: Path, keep: re.Pattern[str]) -> int:
    limit_bytes = max(ALWAYS_ALLOWED_BYTES, MOST_GROWTH * archive.stat().st_size)
    total_bytes = n_files = 0
    for n_members, member in enumerate(_members(archive), start=1):
        path = safe_path(member.name)
        if path is None:
            raise BadArchiveError(f"{archive}: '{member.name}' leads out of its folder; do not use this archive")
        if not member.is_plain:
            raise BadArchiveError(f"{archive}: '{member.name}' is a link or a device; pack plain files only")
        total_bytes += member.size_bytes
        if total_bytes > limit_bytes or n_members > MOST_FILES:
            raise BadArchiveError(
                f"{archive}: unpacks to more than {limit_bytes / 1e6:.0f} MB or {MOST_FILES} files; "
                "if that is right, unpack it by hand and name the folder"
            )
        match = keep.fullmatch(path.as_posix())
        if match and not is_hidden(path):
            _write(archive, member, folder / next(group for group in match.groups() if group))
            n_files += 1
    return n_files


def _write(archive: Path, member: _Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    if source is None:
        raise BadArchiveError(f"{archive}: '{member.name}' cannot be read")
    try:
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 2**20)
    except FileExistsError:
        raise BadArchiveError(f"{archive}: holds '{member.name}' twice") from None


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the packing system had no such thing
                if not info.is_dir():
                    # A member never yields more than its stated size.
                    yield _Member(
                        name=info.filename,
                        size_bytes=info.file_size,
                        is_plain=kind in (0, stat.S_IFREG),
                        open=partial(file.open, info),
                    )
        return
    with tarfile.open(archive) as tar:
        for item in tar:
            if not item.isdir():
                yield _Member(
                    name=item.name,
                    size_bytes=item.size,
                    is_plain=item.isreg(),
                    open=partial(tar.extractfile, item),
                )
