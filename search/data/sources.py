"""Data sources by the value of `--data`."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from search.common.errors import InputError
from search.data.arrays import open_arrays
from search.data.catalogue import CATALOGUE, is_address, is_path, published_names
from search.data.download import Say, data_folder, fetch
from search.data.folder import open_folder
from search.data.imageset import Source
from search.data.reading import Reading
from search.data.remote import ARRAYS, mirror
from search.data.synthetic import SyntheticSource

SYNTHETIC = "synthetic"


def open_source(
    data: str,
    *,
    microscope: Literal["first", "second"],
    seed: int,
    reading: Reading | None = None,
    data_dir: str | None = None,
    say: Say = print,
) -> Source:
    """Open `synthetic`, a folder, an .npz file, a published data set by its name, or a URL.

    Args:
        microscope: which of the two synthetic data sets.
        seed: seed of the synthetic data sets.
        reading: options of how it is read; for an .npz file only the class names are used.
        data_dir, say: see `located`.
    Raises:
        InputError: the data cannot be found, fetched or used.
    """
    if data == SYNTHETIC:
        return SyntheticSource(seed, microscope)
    reading = reading or Reading()
    path = located(data, data_dir, say)
    reading = replace(reading, class_names=reading.class_names or published_names(data, path))
    if path.suffix.lower() != ARRAYS or path.is_dir():
        return open_folder(path, reading)
    for name, value in vars(reading).items():
        if name != "class_names" and value is not None:
            raise InputError(
                f"{path}: an {ARRAYS} file has no columns, folders or names; leave out "
                f"--{name.replace('_', '-')} {value}"
            )
    return open_arrays(path, class_names=reading.class_names)


def located(data: str, data_dir: str | None, say: Say) -> Path:
    """The local path of a value of `--data`, fetched first if it is a URL or the name of a published data set.

    Args:
        data: a path, a name or a URL.
        data_dir: folder of fetched data sets; None: a folder of the user's own.
        say: prints a line about what is fetched, and from where.
    Raises:
        InputError: it cannot be fetched, or is neither a name nor an existing path.
    """
    if is_address(data):
        return mirror(data, data_folder(data_dir), say=say)
    if not is_path(data):
        entry = CATALOGUE[data]
        say(f"{data}: {entry.title}; licence: {entry.licence}; cite: {entry.citation}")
        return fetch(entry, data_folder(data_dir), say=say)
    if data in CATALOGUE:
        say(f"{data}: the folder here, not the published data set of that name")
    elif not Path(data).exists() and Path(data).name == data:
        raise InputError(f"{data}: no such folder or file, and none of the names {', '.join(CATALOGUE)}")
    return Path(data)
