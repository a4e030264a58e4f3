"""From what `--data` names to a source of images."""

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
        seed: of the synthetic drawing.
        class_names, groups: of a folder, see `search.data.folder.open_folder`.
    Raises:
        InputError: what is wrong with the folder.
    """
    if data == SYNTHETIC:
        return SyntheticSource(seed, microscope)
    return open_folder(Path(data), class_names=class_names, groups=groups)
