"""Objects below an address, through fsspec."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.common.errors import InputError
from search.data.remote import open_address, refusal


def is_address(study: str) -> bool:
    """Whether a study is kept at an address rather than in a folder."""
    return "://" in study


class Store:
    """The objects below an address, by their relative names.

    Raises:
        InputError: a missing package, or an unknown kind of address.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._files, self._root = open_address(self.address)

    def names(self, below: str = "") -> list[str]:
        """Names of all objects, or of those in one folder."""
        self._files.invalidate_cache()
        found = self._files.find(f"{self._root}/{below}".rstrip("/"))
        names = (full[len(self._root) :].lstrip("/") for full in found)
        return sorted(name for name in names if name)  # without what marks the folder itself

    def read(self, name: str) -> bytes | None:
        """An object; None if there is none."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object, over an earlier one."""
        self._files.pipe_file(f"{self._root}/{name}", content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object; False if there is one with another content."""
        try:
            self._files.pipe_file(f"{self._root}/{name}", content, mode="create")
        except OSError as error:
            # Servers that speak S3 but do not name the condition that failed are told of as EINVAL.
            if not isinstance(error, FileExistsError) and error.errno != errno.EINVAL:
                raise
            return self.read(name) == content  # an earlier attempt may have written it, whose answer was lost
        return True

    def upload(self, path: Path, name: str) -> None:
        """Upload a file, over an earlier one."""
        self._files.put_file(str(path), f"{self._root}/{name}")

    def download(self, name: str, path: Path) -> None:
        """Download an object to a file, whose folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.get_file(f"{self._root}/{name}", str(path))

    def remove(self, name: str) -> None:
        """Remove an object."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    def remove_all(self, name: str) -> None:
        """Remove an object, or a folder with all that is in it."""
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{name}", recursive=True)

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Turn whatever a storage raises into one line that names the address."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # every storage raises errors of its own
            raise InputError(refusal(self.address, error)) from error
