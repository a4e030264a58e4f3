"""Images at URLs, copied once into the data folder and then read like any others.

Web addresses lead to one archive or .npz file. Folders and files in object storage (s3://, gs://, and every
other scheme that fsspec knows) are copied through fsspec.
"""

import errno
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from search.common.errors import InputError
from search.common.files import write_text
from search.data.download import Say, download, only_process, transfer_progress, unpack_download, writing_to
from search.data.unpack import is_hidden, safe_path

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ARRAYS = ".npz"
CLOUDS = ("s3", "s3a", "gs", "gcs")  # what the extra is for
COPIES_AT_ONCE = 8


def mirror(url: str, data_dir: Path, *, say: Say) -> Path:
    """The local copy of a URL's images, made unless it is there; it has the URL's last name.

    A copy that was stopped goes on with the files that are missing. A finished one is not compared with its
    source again.

    Args:
        url: a folder, archive or .npz file; of a web address, an archive or .npz file.
        data_dir: the data folder; created.
        say: prints a line about what is done.
    Returns:
        A folder, or an .npz file.
    Raises:
        InputError: not such a URL, no access, an incomplete copy, a bad archive, a missing package, or a full
            disk; names the URL and says what to do.
    """
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path.rstrip("/"))).name or parts.netloc
    suffix = next((end for end in (*ARCHIVES, ARRAYS) if name.lower().endswith(end)), "")
    if safe_path(name) is None or is_hidden(PurePosixPath(name)):
        raise InputError(f"{url}: has no name for the copy; it must end in the name of a folder or a file")
    place = data_dir / "urls" / hashlib.sha256(url.encode()).hexdigest()[:12]
    copy = place / (name[: -len(suffix)] if suffix in ARCHIVES else name)
    if copy.exists():
        say(f"{url}: read from the copy in {copy}; delete that to copy it again")
    else:
        source = None if parts.scheme in ("http", "https") else open_address(url)
        if source is None and not suffix:
            raise InputError(f"{url}: a web address must end in {', '.join(ARCHIVES)} or {ARRAYS}")
        with writing_to(place), only_process(place / ".lock", say):
            if not copy.exists():
                _copy(url, source, place / (name if suffix == ARRAYS else f".{name}"), copy, suffix, say)
                say(f"{url}: copied to {copy}")
    return _only_folder(copy) if suffix in ARCHIVES else copy


def _copy(url: str, source: tuple[Any, str] | None, file: Path, copy: Path, suffix: str, say: Say) -> None:
    if source is None:
        download(url, file, say=say)
    elif suffix:
        _copy_file(*source, url, file)
    else:
        _copy_folder(*source, url, copy, say)
    if suffix in ARCHIVES:
        unpack_download(file, copy)


def _only_folder(folder: Path) -> Path:
    """The folder that holds the images: archives often wrap everything in one more."""
    while [path.is_dir() for path in folder.iterdir()] == [True]:
        folder = next(folder.iterdir())
    return folder


def _copy_file(files: Any, root: str, url: str, path: Path) -> None:
    try:
        info = files.info(root)
    except Exception as error:  # every storage raises errors of its own
        raise InputError(refusal(url, error)) from error
    _get(files, url, root, path, info.get("size"))


def _copy_folder(files: Any, root: str, url: str, copy: Path, say: Say) -> None:
    found = _list(files, url, root)
    staged = copy.with_name(f".{copy.name}.partial")
    staged.mkdir(exist_ok=True)
    _drop_outdated(staged, found)
    missing = {name: info for name, info in found.items() if not (staged / name).exists()}
    total = sum(info["size"] or 0 for info in missing.values())
    say(f"copying {len(missing)} of {len(found)} files ({total / 1e6:.1f} MB) from {url}")
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool, transfer_progress(copy.name, 0, total) as advance:
        copies = {
            pool.submit(_get, files, url, info["name"], staged / name, info["size"]): info["size"] or 0
            for name, info in missing.items()
        }
        try:
            for done in as_completed(copies):
                done.result()
                advance(copies[done])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _listing_file(staged).unlink()
    staged.rename(copy)


def _list(files: Any, url: str, root: str) -> dict[str, dict[str, Any]]:
    """Relative path -> name, size in bytes and etag (None if unknown), of all files that are not hidden."""
    try:
        infos = files.find(root, detail=True)
    except Exception as error:  # every storage raises errors of its own
        raise InputError(refusal(url, error)) from error
    found = {}
    for full, info in infos.items():
        name = full[len(root) :].lstrip("/")
        path = safe_path(name)
        if name and path is None:
            raise InputError(f"{url}: '{name}' leads out of its folder")
        if path is not None and not name.endswith("/") and not is_hidden(path):
            etag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
            found[path.as_posix()] = {"name": full, "size": info.get("size"), "etag": etag}
    if not found:
        raise InputError(f"{url}: no such folder, or no files in it")
    return found


def _drop_outdated(staged: Path, found: dict[str, dict[str, Any]]) -> None:
    """Delete what an earlier, unfinished copy has of files that have changed or gone since."""
    listing = _listing_file(staged)
    before = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else {}
    for name in before:
        if before[name] != found.get(name):
            (staged / name).unlink(missing_ok=True)
    write_text(listing, json.dumps(found))


def _listing_file(staged: Path) -> Path:
    return staged.with_name(f"{staged.name}.json")


def _get(files: Any, url: str, source: str, path: Path, size: int | None) -> None:
    """Copy one file, which appears only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        files.get_file(source, str(partial))
    except OSError as error:
        if error.filename == str(partial) or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(refusal(url, error)) from error
    except Exception as error:  # every storage raises errors of its own
        raise InputError(refusal(url, error)) from error
    if size is not None and partial.stat().st_size != size:
        raise InputError(
            f"{url}: {source} came with {partial.stat().st_size} of {size} bytes; run the command again"
        )
    partial.replace(path)


def open_address(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        InputError: an unknown kind of address, or a missing package.
    """
    scheme = urlsplit(url).scheme
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations

        if scheme not in known_implementations:
            raise InputError(f"{url}: unknown kind of address '{scheme}://'; use s3://, gs:// or https://")
        return url_to_fs(url)
    except ImportError as error:
        hint = "not installed; run pip install 'wbc-search[cloud]'" if scheme in CLOUDS else error
        raise InputError(f"{url}: {hint}") from None
    except ValueError as error:
        raise InputError(f"{url}: {error}") from None


def refusal(url: str, error: Exception) -> str:
    """What a storage has refused, in one line."""
    if isinstance(error, FileNotFoundError):
        return f"{url}: no such folder or file"
    if isinstance(error, PermissionError) or "redential" in f"{type(error).__name__} {error}":
        return f"{url}: access denied; give credentials as the storage's own tools take them ({error})"
    return f"{url}: {type(error).__name__}: {error}; run the command again to go on"
