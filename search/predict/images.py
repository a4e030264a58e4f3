"""The images that are to be classified, with their true classes where these are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.common.errors import InputError
from search.data.beside import read_beside
from search.data.files import files_below
from search.data.folder import open_folder
from search.data.imageset import Listing
from search.data.names import few
from search.data.reading import Reading
from search.data.tables import read_table


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Images by name, not yet decoded.

    Attributes:
        names: paths.
        labels, groups: class and number of the group by name; None where there are none.
    """

    names: tuple[str, ...]
    labels: Mapping[str, str] | None = None
    groups: Mapping[str, int] | None = None

    def listing(self) -> Listing:
        """The images as a listing, whose classes mean nothing: identical images may have any labels here."""
        return Listing(source="", classes=("",), names=self.names, labels=np.zeros(len(self.names), np.int64))


def given_images(paths: Sequence[Path]) -> Asked:
    """The given files, and the images in the given folders, each once.

    Raises:
        InputError: there is none.
    """
    if not paths:
        raise InputError("IMAGES: needs image files, or folders of them")
    names: list[str] = []
    for path in paths:
        if not path.is_dir():
            names.append(str(path))
            continue
        found = [str(path / name) for name in files_below(path).images]
        if not found:
            raise InputError(f"{path}: no images in this folder")
        names += found
    return Asked(names=tuple(dict.fromkeys(names)))


def labelled_images(labels: Path, paths: Sequence[Path], reading: Reading, classes: Sequence[str]) -> Asked:
    """The images with their true classes.

    Args:
        labels: a folder of labelled images, or a table that names the images.
        paths: image files, or folders of them; of a labelled folder none, or itself.
        reading: options that settle how the labels are read.
        classes: of the network.
    Raises:
        InputError: the labels cannot be read, or the network lacks a class; names it.
    """
    asked = _of_folder(labels, paths, reading) if labels.is_dir() else _of_table(labels, paths, reading)
    lacking = sorted({*(asked.labels or {}).values()} - {*classes})
    if lacking:
        raise InputError(
            f"{labels}: the network does not know {few(lacking)}, only {', '.join(classes)}; --class-names "
            "renames labels"
        )
    return asked


def _of_folder(folder: Path, paths: Sequence[Path], reading: Reading) -> Asked:
    others = [path for path in paths if path.resolve() != folder.resolve()]
    if others:
        raise InputError(
            f"{others[0]}: --labels {folder} is a folder, whose images alone are scored; leave this out"
        )
    listing = open_folder(folder, reading).listing
    names = tuple(str(folder / name) for name in listing.names)
    return Asked(
        names=names,
        labels={name: listing.classes[label] for name, label in zip(names, listing.labels, strict=True)},
        groups=None if listing.groups is None else dict(zip(names, listing.groups.tolist(), strict=True)),
    )


def _of_table(file: Path, paths: Sequence[Path], reading: Reading) -> Asked:
    names = given_images(paths).names
    table = read_table(file)
    beside = read_beside(table, names, [], reading)
    if beside is None or beside.labels is None:
        raise InputError(f"{file}: no column names any of the images; columns: {', '.join(table.columns)}")
    return Asked(names=names, labels=beside.by_image(beside.labels.classes))
