"""Data sources by the value of `--data`."""

from pathlib import Path
from typing import Literal

from search.data.folder import open_folder
from search.data.imageset import Source
from search.data.reading import Reading
from search.data.synthetic import SyntheticSource

SYNTHETIC = "synthetic"


def open_source(
    data: str,
    *,
    microscope: Literal["first", "second"],
    seed: int,
    reading: Reading | None = None,
) -> Source:
    """Open `synthetic` or a folder.

    Args:
        microscope: which of the two synthetic data sets.
        seed: seed of the synthetic data sets.
        reading: options of how a folder is read.
    Raises:
        InputError: the folder cannot be used.
    """
    if data == SYNTHETIC:
        return SyntheticSource(seed, microscope)
    return open_folder(Path(data), reading)
