"""Downloads into the data folder: resumed, verified, unpacked, and complete or not there."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from platformdirs import user_data_path
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from search.common.console import make_console
from search.common.errors import InputError
from search.data.catalogue import Entry
from search.data.unpack import BadArchiveError, unpack

if TYPE_CHECKING:
    from requests import RequestException, Response

Say = Callable[[str], None]
"""Prints a line for the user."""

ATTEMPTS = 5
PAUSE_S = 2.0
TIMEOUT_S = 30.0
BLOCK_BYTES = 2**16  # what is lost of a download that is cut off


def data_folder(given: str | None) -> Path:
    """The folder of data sets: the given one, else the user's own."""
    return user_data_path("wbc-search") if given is None else Path(given).absolute()


def fetch(entry: Entry, data_dir: Path, *, say: Say) -> Path:
    """The local folder or .npz file of a published data set, downloaded unless it is there.

    It is DATA_DIR/NAME, or the published .npz file in DATA_DIR; each may have been fetched by hand. So may an
    archive: one of the published name in DATA_DIR is unpacked instead of downloaded. Whatever is there under its
    final name is complete: a download or an unpacking that was stopped leaves only hidden files.

    Args:
        entry: the data set.
        data_dir: the data folder; created.
        say: prints a line about what is done.
    Raises:
        InputError: no direct download, no network, no such file, a wrong size or checksum, a bad archive, or a
            full disk; says what to do.
    """
    folder = data_dir / entry.name
    path = folder if entry.keep or entry.file is None else data_dir / entry.file
    if _is_there(path):
        return path
    if entry.address is None or entry.file is None:
        raise InputError(f"{entry.name}: has no direct download; {entry.by_hand}, in {path} (see {entry.page})")
    with writing_to(data_dir), only_process(data_dir / f".{entry.name}.lock", say):
        if _is_there(path):  # another process has fetched it
            return path
        try:
            if entry.keep is None:
                download(entry.address, path, say=say, checksum=entry.checksum, size_bytes=entry.size_bytes)
            else:
                _fetch_archive(entry, entry.address, data_dir / entry.file, folder, say)
        except InputError as error:
            raise InputError(
                f"{error}; or {entry.by_hand} from {entry.page} and put it, named {entry.file}, in {data_dir}"
            ) from None
    return path


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _fetch_archive(entry: Entry, address: str, by_hand: Path, folder: Path, say: Say) -> None:
    archive = by_hand if by_hand.exists() else by_hand.with_name(f".{by_hand.name}")
    if archive != by_hand:
        download(address, archive, say=say, checksum=entry.checksum, size_bytes=entry.size_bytes)
    n_files = unpack_download(archive, folder, keep=entry.keep or "(.*)", is_ours=archive != by_hand)
    say(f"{entry.name}: unpacked {n_files} files to {folder}")
    n_images = sum(not path.name.lower().endswith((".csv", ".tsv")) for path in folder.rglob("*.*"))
    if entry.n_images not in (None, n_images):
        say(f"{entry.name}: {n_images} images instead of the published {entry.n_images}: the source has changed")


def unpack_download(archive: Path, folder: Path, *, keep: str = "(.*)", is_ours: bool = True) -> int:
    """Unpack an archive, and delete it if it is ours and no longer of use: unpacked, or bad.

    Returns:
        The number of files.
    Raises:
        BadArchiveError: see `unpack`.
    """
    try:
        n_files = unpack(archive, folder, keep=keep)
    except BadArchiveError:
        if is_ours:
            archive.unlink()
        raise
    if is_ours:
        archive.unlink()
    return n_files


def download(
    url: str, path: Path, *, say: Say, checksum: str | None = None, size_bytes: int | None = None
) -> None:
    """Download a file, which appears only once it is complete and verified; an existing one is kept.

    A download that was cut off goes on where it stopped, if the server can do that and confirms that the file
    is still the same one; otherwise it starts again.

    Args:
        checksum: of the file, such as "md5:0123…"; None: unknown.
        size_bytes: of the file; None: unknown, then the server's word counts.
    Raises:
        InputError: it cannot be downloaded, or is not the published file; names the URL and says what to do.
        OSError: the disk is full, or the file cannot be written.
    """
    if path.exists():
        return
    from requests import RequestException  # a tenth of a second, which only downloads are worth
    from requests.exceptions import ChunkedEncodingError

    partial = path.with_name(f".{path.name}.partial")
    version = path.with_name(f".{path.name}.version")
    for attempt in range(1, ATTEMPTS + 1):
        had_bytes = _size(partial)
        try:
            _receive(url, partial, version, path.name.strip("."), say)
            break
        except RequestException as error:
            got_bytes = _size(partial)
            began = got_bytes > had_bytes or isinstance(error, ChunkedEncodingError)
            if not began or attempt == ATTEMPTS:
                raise InputError(_broken(url, error, got_bytes)) from None
            say(f"{url}: the connection broke after {_mb(got_bytes)}; trying again")
            time.sleep(PAUSE_S)
    problem = _difference(partial, checksum, size_bytes)
    version.unlink(missing_ok=True)
    if problem:
        partial.unlink()
        raise InputError(f"{url}: {problem}; it is deleted: run the command again, or the source has changed")
    partial.replace(path)


def _receive(url: str, partial: Path, version: Path, name: str, say: Say) -> None:
    """Download a file, or what is missing of it."""
    import requests

    start = _size(partial) if version.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text()}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        status, span = response.status_code, response.headers.get("Content-Range", "")
        if status == 416 and span == f"bytes */{start}":  # it was complete
            return
        if status == 416 or (status == 206 and not span.startswith(f"bytes {start}-")):
            partial.unlink()
            raise InputError(f"{url}: the server cannot continue this download; run the command again")
        if status not in (200, 206):
            raise InputError(f"{url}: the server answers {status} {response.reason}")
        if status == 200:
            start = 0
            _start_again(partial, version, response)
        length = int(response.headers.get("Content-Length", 0))
        total = start + length if length else None
        missing = "" if total is None else f" ({_mb(length)}{f' of {_mb(total)}' if start else ''})"
        say(f"downloading {url}{missing}")
        with partial.open("ab") as file, transfer_progress(name, start, total) as advance:
            for block in response.iter_content(BLOCK_BYTES):
                file.write(block)
                advance(len(block))


def _start_again(partial: Path, version: Path, response: "Response") -> None:
    """Forget what is there, and note what names this version of the file, if anything does."""
    partial.unlink(missing_ok=True)
    version.unlink(missing_ok=True)
    tag = response.headers.get("ETag", "")
    name = response.headers.get("Last-Modified") if tag.startswith("W/") or not tag else tag
    if name:
        version.write_text(name)


def _difference(path: Path, checksum: str | None, size_bytes: int | None) -> str | None:
    """What a file has that the published one has not."""
    if size_bytes is not None and _size(path) != size_bytes:
        return f"the file has {_size(path)} bytes instead of the published {size_bytes}"
    if checksum is not None:
        kind, _, published = checksum.partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != published:
            return f"the file has {kind} {found} instead of the published {published}"
    return None


def _broken(url: str, error: "RequestException", got_bytes: int) -> str:
    import requests

    if got_bytes or isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{url}: the connection broke after {_mb(got_bytes)}; run the command again to go on from there"
    if isinstance(error, requests.Timeout):
        return f"{url}: no answer within {TIMEOUT_S:.0f} s; try again later"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{url}: the server's certificate cannot be verified; check the network and the system's clock"
    if isinstance(error, requests.ConnectionError):
        return f"{url}: cannot be reached; check the address and the network"
    return f"{url}: {error}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


@contextmanager
def transfer_progress(name: str, done: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Bytes and rate on a terminal, nothing elsewhere; yields what counts further bytes."""
    console = make_console(stderr=True)
    if not console.is_terminal:
        yield lambda n_bytes: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name.strip("."), total=total, completed=done)
        yield lambda n_bytes: bar.advance(task, n_bytes)


@contextmanager
def only_process(lock: Path, say: Say) -> Iterator[None]:
    """Keep other processes out, or wait until they are done."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process, which holds {lock}")
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Create a folder, and turn failures to write there into one line.

    Raises:
        InputError: the disk is full, or the folder cannot be written to; names it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        problem = f"{error.filename or folder}: {error.strerror or error}"
        raise InputError(f"{problem}; make room, or name another folder with --data-dir") from None
