"""The column of a table that names the images, and the image that each row names."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import PurePosixPath

import numpy as np

from search.common.errors import InputError
from search.data.files import EXTENSIONS
from search.data.names import few, plain
from search.data.tables import Table

# A better kind of name decides only if it finds nearly as many images as the best column does.
_NEARLY_ALL = 0.9


class Kind(IntEnum):
    """How a value names an image; the lower, the more certain."""

    PATH = 0
    NAME = 1
    STEM = 2
    NUMBER = 3


_WORDS = {Kind.PATH: "path", Kind.NAME: "file name", Kind.STEM: "name without suffix", Kind.NUMBER: "number"}


@dataclass(frozen=True, kw_only=True)
class Matching:
    """A column that names images.

    Attributes:
        column: its name.
        kind: how nearly all of its values name an image.
        images: per row the image that it names; None if there is none.
    """

    column: str
    kind: Kind
    images: tuple[str | None, ...]

    @property
    def n_images(self) -> int:
        """Number of images that are named."""
        return len({name for name in self.images if name is not None})

    def __str__(self) -> str:
        """Words for the user, such as "column 'File' by file name"."""
        return f"column '{self.column}' by {_WORDS[self.kind]}"


class ImagesByName:
    """Images by everything that a table may call them."""

    def __init__(self, images: Sequence[str]) -> None:
        self._by_kind: dict[Kind, defaultdict[str, list[str]]] = {kind: defaultdict(list) for kind in Kind}
        for image in images:
            path = PurePosixPath(plain(image))
            stem = plain(path.stem)
            for first in range(len(path.parts) - 1):
                self._by_kind[Kind.PATH]["/".join(path.parts[first:])].append(image)
            self._by_kind[Kind.NAME][path.name].append(image)
            self._by_kind[Kind.STEM][stem].append(image)
            if stem.isdecimal():
                self._by_kind[Kind.NUMBER][_number(stem)].append(image)

    def find(self, value: str) -> tuple[Kind, list[str]] | None:
        """The most certain kind of name that a value can be, and the images of that name; None: no image's."""
        path = PurePosixPath(re.sub(r"\\", "/", plain(value)))
        # An exported path may begin with folders of another machine.
        for first in range(len(path.parts) - 1):
            if by_path := self._by_kind[Kind.PATH].get("/".join(path.parts[first:])):
                return Kind.PATH, by_path
        name = path.name
        suffixed = path.suffix in EXTENSIONS
        stem = plain(path.stem if suffixed else name)
        keys = ((Kind.NAME, name), (Kind.STEM, stem), (Kind.NUMBER, _number(stem) if stem.isdecimal() else ""))
        found = {kind: [i for i in self._by_kind[kind].get(key, []) if _may_be(path, i)] for kind, key in keys}
        for kind in (Kind.NAME, Kind.STEM, Kind.NUMBER):
            if found[kind]:
                # A bare number may as well be any file of that number: 1 is 1.png or 001.png.
                return kind, max(found[kind], found[Kind.NUMBER] if kind is Kind.STEM else [], key=len)
        return None


def _number(stem: str) -> str:
    return stem.lstrip("0") or "0"


def _may_be(value: PurePosixPath, image: str) -> bool:
    """Whether a value with folders can name an image: not one that is in another folder here."""
    folder = PurePosixPath(plain(image)).parent
    return len(value.parts) == 1 or folder == PurePosixPath()


def match_rows(table: Table, images: Sequence[str], image_column: str | None = None) -> Matching | None:
    """Find the column that names the images.

    A path beats a file name, a file name beats one without its suffix, and that beats a bare number: a running
    number beside file names must not decide which label an image gets.

    Args:
        image_column: the column to use; None: the one whose values name images.
    Returns:
        The column and its images; None if no column names any.
    Raises:
        InputError: columns that disagree, or a name of several images; names them and the option that decides.
    """
    known = ImagesByName(images)
    if image_column is not None:
        if image_column not in table.columns:
            raise InputError(
                f"{table.path}: --image-column '{image_column}' is not a column; columns: "
                f"{', '.join(table.columns)}"
            )
        return _matching(table, image_column, known)
    candidates = [found for name in table.columns if (found := _candidate(table, name, known)) is not None]
    if not candidates:
        return None
    _refuse_names_of_no_image(table, candidates, known)
    most = max(found.n_images for found in candidates)
    first = min(candidates, key=lambda found: (found.kind, -found.n_images))
    if first.n_images < _NEARLY_ALL * most:
        other = max(candidates, key=lambda found: found.n_images)
        raise _undecided(table, first, other)
    for other in candidates:
        if other.kind == first.kind and other.n_images > first.n_images / 2 and _differ(first, other):
            raise _undecided(table, first, other)
    return _matching(table, first.column, known)


def _candidate(table: Table, column: str, known: ImagesByName) -> Matching | None:
    """A column's matching if it can name the images: each row another one, for most of its values."""
    found = [known.find(value) for value in table.columns[column] if value]
    matched = [each for each in found if each is not None]
    different = {image for _, images in matched for image in images}
    # A column that names the same files again and again is not the one: labels 1..5 match files 1..5 as well.
    if not matched or len(different) <= len(matched) / 2:
        return None
    kinds = sorted(kind for kind, _ in matched)
    kind = kinds[int(np.ceil(_NEARLY_ALL * len(kinds))) - 1]
    rows = [known.find(value) if value else None for value in table.columns[column]]
    images = tuple(each[1][0] if each is not None and len(each[1]) == 1 else None for each in rows)
    return Matching(column=column, kind=kind, images=images)


def _matching(table: Table, column: str, known: ImagesByName) -> Matching:
    """The image of every row by one column, and by one kind of name at most.

    Raises:
        InputError: a value that could be several images, or values that name one image in two ways.
    """
    images: list[str | None] = []
    kinds: list[Kind] = []
    named: dict[str, str] = {}
    for value in table.columns[column]:
        found = known.find(value) if value else None
        if found is None:
            images.append(None)
            continue
        kind, matches = found
        if len(matches) > 1:
            raise InputError(
                f"{table.path}: '{value}' could be any of {few(matches)}; write the path from {table.path.parent}"
            )
        folder_and_name = plain(value).replace("\\", "/")
        before = named.setdefault(matches[0], folder_and_name)
        if _another(before, folder_and_name):
            raise InputError(f"{table.path}: '{before}' and '{folder_and_name}' both name {matches[0]}")
        images.append(matches[0])
        kinds.append(kind)
    kind = sorted(kinds)[int(np.ceil(_NEARLY_ALL * len(kinds))) - 1] if kinds else Kind.PATH
    return Matching(column=column, kind=kind, images=tuple(images))


def _another(one: str, two: str) -> bool:
    """Whether two values name two files: by folders that differ."""
    one_folder, two_folder = (PurePosixPath(value).parent for value in (one, two))
    return one_folder != two_folder and PurePosixPath() not in (one_folder, two_folder)


def _refuse_names_of_no_image(table: Table, candidates: list[Matching], known: ImagesByName) -> None:
    """Refuse a table with a column of file names that are not here: a number beside them may be anything."""
    named = {found.column for found in candidates}
    for column, values in table.columns.items():
        if column in named:
            continue
        filled = [value for value in values if value]
        files = [value for value in filled if PurePosixPath(value.lower()).suffix in EXTENSIONS]
        if len(files) > len(filled) / 2 and not any(known.find(value) for value in files):
            raise InputError(
                f"{table.path}: column '{column}' looks like file names, such as '{files[0]}', and names no image "
                f"here, but {candidates[0]} does; --image-column '{candidates[0].column}' uses that one"
            )


def _differ(one: Matching, two: Matching) -> bool:
    pairs = zip(one.images, two.images, strict=True)
    return any(a is not None and b is not None and a != b for a, b in pairs)


def _undecided(table: Table, one: Matching, two: Matching) -> InputError:
    return InputError(
        f"{table.path}: {one} names {one.n_images} images and {two} names {two.n_images}, and they disagree; "
        f"choose with --image-column '{one.column}' or '{two.column}'"
    )
