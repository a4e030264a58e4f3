"""Data sources by the value of `--data`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from search.data.folder import open_folder
from search.data.imageset import Source
from search.data.synthetic import SyntheticSource

SYNTHETIC = "synthetic"


def open_source(
    data: str,
    *,
    microscope: Literal["first", "second"],
    seed: int,
    class_names: Mapping[str, str] | None = None,
    groups: str | None = None,
) -> Source:
    """Open `synthetic` or a folder.

    Args:
        microscope: which of the two synthetic data sets.
        seed: seed of the synthetic data sets.
        class_names, groups: for a folder, see `search.data.folder.open_folder`.
    Raises:
        InputError: the folder cannot be used.
    """
    if data == SYNTHETIC:
        return SyntheticSource(seed, microscope)
    return open_folder(Path(data), class_names=class_names, groups=groups)
