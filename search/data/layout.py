"""The layout of a folder: what its levels are, given by the user or found out."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.common.errors import InputError
from search.data.names import few, plain

CLASS, TABLE, SPLIT, GROUP, ANY = "class", "table", "split", "group", "*"
# Folders of these names hold parts of a data set or kinds of files, not classes.
_NOT_CLASSES = re.compile(
    r"(train|training|val|valid|validation|dev|test|testing|(fold|split|part)[ _-]?\d+|"
    r"images?|imgs?|masks?|labels?|annotations?|data|dataset)$"
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What each folder level below a data set is, from the top.

    Attributes:
        levels: "class", "table" (last: images and their table), the name of a column such as "split" or
            "patient", or "*" for a level without a meaning.
        why: for the user.
    """

    levels: tuple[str, ...]
    why: str

    @property
    def by_table(self) -> bool:
        """Whether the labels are in a table."""
        return self.levels[-1] == TABLE

    def __str__(self) -> str:
        """The layout as the user writes it."""
        return "/".join(self.levels)

    def columns_of(self, image: str) -> dict[str, str] | None:
        """What the folders of an image say, by level; None if it is not deep enough."""
        folders = image.split("/")[:-1]
        levels = self.levels[:-1] if self.by_table else self.levels
        if len(folders) < len(levels):
            return None
        return {level: folder for level, folder in zip(levels, folders, strict=False) if level != ANY}


def parse_layout(text: str) -> Layout:
    """Read a layout such as "class", "split/class", "patient/*/class", "table" or "split/table".

    Raises:
        InputError: not exactly one level is "class" or "table", a level has two meanings, or "table" is not last.
    """
    levels = tuple(part.strip().lower() for part in text.split("/"))
    names = [level for level in levels if level != ANY]
    if "" in levels or len(set(names)) < len(names) or (CLASS in levels) == (TABLE in levels):
        raise InputError(
            f"--layout {text}: names each folder level from the top, with class or table among them, such as "
            "class, split/class, patient/*/class, table or split/table"
        )
    if TABLE in levels and levels[-1] != TABLE:
        raise InputError(f"--layout {text}: table must be last")
    return Layout(levels=levels, why="--layout says so")


def class_folders(folder: Path, images: Sequence[str], tables: Sequence[str]) -> Layout:
    """The layout of a folder whose top folders are the classes.

    Raises:
        InputError: the top folders are not classes, or not certainly; names both readings.
    """
    if reason := doubt(images, tables):
        raise InputError(f"{folder}: {reason}")
    return Layout(levels=(CLASS,), why="each top folder is a class")


def doubt(images: Sequence[str], tables: Sequence[str]) -> str | None:
    """Why the top folders may not be the classes, and what to do; None if nothing speaks against it."""
    below: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        top, *rest = image.split("/")
        if rest:
            below[top].update(map(plain, rest[:-1]))
    tops = sorted(below)
    inner = sorted({table.split("/")[0] for table in tables if "/" in table} & set(below))
    if inner:
        return (
            f"the folders {few(inner)} hold tables of their own: if each is a data set, name one of them; if they "
            "are parts of one, --layout split/table"
        )
    if shared := sorted(
        name for name, n in Counter(name for names in below.values() for name in names).items() if n > 1
    ):
        pattern = _deeper_layout(images, tops, shared)
        return (
            f"the classes could be the folders {few(tops, 3)}, or {few(shared, 3)} below them, which several "
            f"of them have; choose with --layout class or --layout {pattern}; if each top folder is a data "
            "set, name one"
        )
    if len(tops) > 1 and any(below.values()) and len({re.sub(r"\d+", "0", plain(top)) for top in tops}) == 1:
        deeper = sorted({name for names in below.values() for name in names})
        return (
            f"the folders {few(tops, 3)} are numbered, as patients or slides are, and hold {few(deeper, 3)}; "
            f"if these are the classes, --layout {_deeper_layout(images, tops, deeper)}, else --layout class"
        )
    if odd := [top for top in tops if _NOT_CLASSES.match(plain(top))]:
        part = "class" if any(below[top] for top in odd) else "table"
        return (
            f"the folders {few(tops)} do not look like classes; --layout split/{part} reads them as parts of the "
            "data set, --layout class as classes"
        )
    return None


def note_on_depth(images: Sequence[str]) -> str | None:
    """A note on folders below the classes; None if there are none."""
    deeper = sorted({"/".join(image.split("/")[1:-1]) for image in images if image.count("/") > 1})
    if not deeper:
        return None
    n_images = sum(image.count("/") > 1 for image in images)
    return (
        f"{n_images} images are in folders below the classes ({few(deeper, 3)}) and count for the class of the "
        "top folder; --layout class/NAME makes that level a column for --groups, --exclude 'PATTERN' leaves "
        "images out"
    )


def _deeper_layout(images: Sequence[str], tops: Sequence[str], shared: Sequence[str]) -> str:
    """The layout that has its classes at the level with the most different shared names."""
    levels: defaultdict[int, set[str]] = defaultdict(set)
    for image in images:
        for level, name in enumerate(map(plain, image.split("/")[1:-1]), start=1):
            if name in shared:
                levels[level].add(name)
    depth = max(levels, key=lambda level: (len(levels[level]), level))
    top = SPLIT if all(_NOT_CLASSES.match(plain(name)) for name in tops) else GROUP
    return "/".join([top, *[ANY] * (depth - 1), CLASS])
