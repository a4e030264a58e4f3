"""Data sets in folders: classes by folder or by table, with groups, given splits and laboratories beside them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.beside import Beside, table_of_part, tables_beside
from search.data.decode import read_rgb
from search.data.files import EXTENSIONS, Files, files_below
from search.data.grouping import given_values, group_images
from search.data.imageset import ImageSet, Listing, OnRead, require_two_classes, unheard
from search.data.labels import Labels
from search.data.layout import (
    CLASS,
    GROUP,
    SPLIT,
    TABLE,
    Layout,
    class_folders,
    doubt,
    note_on_depth,
    parse_layout,
)
from search.data.loading import decode_listing
from search.data.masks import find_masks
from search.data.names import count, few, plain
from search.data.reading import Reading
from search.data.tables import TABLE_SUFFIXES

_NOT_MENTIONED = re.compile(r"thumbs\.db$|desktop\.ini$|read_?me|.*\.(txt|md)$|[^.]*$", re.IGNORECASE)
# Columns beside the labels that a study should know of.
_GROUP_WORDS = (
    "patient",
    "subject",
    "donor",
    "slide",
    "case",
    "laborator",
    "hospital",
    "site",
    "center",
    "centre",
)
_SPLIT_WORDS = ("split", "fold", "subset", "partition")


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """The images of a folder, listed but not yet decoded."""

    folder: Path
    listing: Listing

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False, on_read: OnRead = unheard) -> ImageSet:
        """Decode every image once and scale it to each of the square sides.

        Args:
            sides_px: sides to scale to.
            skip_bad: leave out damaged images, and identical ones with different labels, and name them in `notes`.
            on_read: called with the number of images read since the last call.
        Raises:
            InputError: such an image, which it names; with skip_bad, too few images are left.
        """
        images = decode_listing(self.folder, self.listing, sides_px, skip_bad=skip_bad, on_read=on_read)
        require_two_classes(self.folder, images)
        return images

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """Read one image of the listing at its full size."""
        return read_rgb(self.folder / name)


@dataclass(kw_only=True)
class _Found:
    """What is known of the images so far.

    Attributes:
        classes: image -> class.
        columns: name of a column or folder level -> image -> value.
        lines, notes: how the folder is read; what the user should know.
    """

    classes: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_folder(folder: Path, reading: Reading | None = None) -> FolderSource:
    """List the images of a folder with their labels, groups and given parts.

    Labels are the names of folders, or a column of a table that names the images. What a folder holds is found out
    where it is certain; where two readings are possible, the folder is refused with the options that choose. Class
    names become lower case, so that a class has the same name in every data set.

    Args:
        reading: options that settle what is not certain.
    Returns:
        The source; images are sorted by name.
    Raises:
        InputError: a folder, table, label, column or pattern that cannot be used; names it.
    """
    reading = reading or Reading()
    files = files_below(folder, reading.exclude)
    if not files.images:
        raise InputError(f"{folder}: no images ({' '.join(EXTENSIONS)})")
    found = _Found()
    _look_for_masks(folder, files.images, found)
    layout, beside = _read_layout(folder, files, reading, found)
    found.lines.append(f"layout {layout}: {layout.why}")
    _enter_levels(folder, layout, files.images, reading, found)
    for each in beside:
        _enter_table(each, layout, reading, found)
    if layout.by_table and (without := sorted(set(files.images) - set(found.classes))):
        found.notes.append(f"left out {count(len(without), 'image')} without a label: {few(without)}")
    listing = _listing(folder, files, reading, found, tables_read=bool(beside))
    require_two_classes(folder, listing)
    return FolderSource(folder=folder, listing=listing)


# Which layout


def _look_for_masks(folder: Path, images: Sequence[str], found: _Found) -> None:
    def read(name: str) -> NDArray[np.uint8] | None:
        try:
            return read_rgb(folder / name)
        except InputError:  # damaged images are named when all are read
            return None

    certain, paired = find_masks(images, read)
    if certain:
        first = certain[0]
        raise InputError(
            f"{folder}: {count(len(first.names), 'image')} such as {first.names[0]} are black and white "
            f"without any colour, as masks are; --exclude '{first.pattern}' leaves them out"
        )
    for files in paired:
        found.notes.append(
            f"{count(len(files.names), 'image')} such as {files.names[0]} have the name of another image and "
            f"more; --exclude '{files.pattern}' leaves them out"
        )


def _read_layout(folder: Path, files: Files, reading: Reading, found: _Found) -> tuple[Layout, list[Beside]]:
    """The layout, and the tables that name images."""
    tables = [name for name in files.others if PurePosixPath(name).suffix.lower() in TABLE_SUFFIXES]
    tops = sorted({name.split("/")[0] for name in files.images if "/" in name})
    if reading.layout is not None:
        layout = parse_layout(reading.layout)
        if layout.by_table and len(layout.levels) > 1:
            return layout, [table_of_part(folder, top, files.images, tables, reading) for top in tops]
        root = [name for name in tables if "/" not in name]
        beside, notes = tables_beside(folder, root, files.images, tops, reading, needed=layout.by_table)
        found.notes += notes
        return layout, beside
    root = [name for name in tables if "/" not in name]
    flat = [name for name in files.images if "/" not in name]
    if not tops and not root:
        raise InputError(f"{folder}: images without labels: no CSV file next to them, no sub-folder per class")
    suspicious = doubt(files.images, tables) if tops else None
    beside, notes = tables_beside(folder, root, files.images, tops, reading, needed=not tops)
    found.notes += notes
    labelled = [each for each in beside if each.labels is not None]
    if not tops:
        return Layout(levels=(TABLE,), why=f"all images lie beside {labelled[0].table.path.name}"), beside
    named = {image for each in labelled for image in each.matching.images if image is not None}
    below = [name for name in files.images if "/" in name]
    if flat and root and not named & set(below):
        raise InputError(
            f"{folder}: images next to {root[0]} and also in sub-folders ({few(tops)}); --layout class or "
            "--layout table chooses one of the two"
        )
    if labelled and (suspicious is not None or len(tops) == 1):
        return Layout(
            levels=(TABLE,), why=f"{labelled[0].table.path.name} names the images in the folders"
        ), beside
    if labelled and not _agree(labelled[0]):
        return _refuse_two_labels(folder, labelled[0], tops), beside
    return class_folders(folder, below, tables), beside


def _agree(each: Beside) -> bool:
    """Whether a table's labels are the names of the top folders."""
    assert each.labels is not None
    labels = each.by_image(each.labels.classes)
    return all(plain(image.split("/")[0]) == label for image, label in labels.items())


def _refuse_two_labels(folder: Path, each: Beside, tops: Sequence[str]) -> Layout:
    assert each.labels is not None
    labels = each.by_image(each.labels.classes)
    image, label = next((i, c) for i, c in labels.items() if plain(i.split("/")[0]) != c)
    raise InputError(
        f"{folder}: {image} is '{image.split('/')[0]}' by its folder and '{label}' by column "
        f"'{each.labels.column}' of {each.table.path.name}; choose with --layout class or --layout table"
    )


# What folders and tables say


def _enter_levels(folder: Path, layout: Layout, images: Sequence[str], reading: Reading, found: _Found) -> None:
    """Enter what an image's folders say: its class, and columns."""
    renamed = reading.names
    outside = []
    for image in images:
        levels = layout.columns_of(image)
        if levels is None:
            outside.append(image)
            continue
        for level, name in levels.items():
            if level == CLASS:
                found.classes[image] = renamed.get(plain(name), plain(name))
            else:
                found.columns.setdefault(level, {})[image] = name
    if layout.by_table:
        return
    if not found.classes:
        raise InputError(f"{folder}: no image is as deep as --layout {layout} says, such as {images[0]}")
    if outside:
        found.notes.append(f"left out {count(len(outside), 'image')} outside the class folders: {few(outside)}")
    tops = {name.split("/")[0] for name in images if "/" in name}
    if empty := sorted({path.name for path in folder.glob("[!.]*/")} - tops):
        found.notes.append(f"folders without images: {few(empty)}")
    if layout.levels == (CLASS,) and (deeper := note_on_depth(images)):
        found.notes.append(deeper)


def _enter_table(each: Beside, layout: Layout, reading: Reading, found: _Found) -> None:
    """Enter what a table says of its images: their labels if the layout takes them from there, and columns."""
    table, labels, file = each.table, each.labels, each.table.path.name
    if layout.by_table and labels is not None:
        found.classes |= each.by_image(labels.classes)
        found.lines.append(f"{file}: images by {each.matching}, labels from column '{labels.column}'")
        if len(table.columns) > 2:
            found.notes.append(
                f"{file}: images by {each.matching}, labels from column '{labels.column}'; --image-column and "
                "--label-column choose others"
            )
        _note_labels(each, labels, reading, found)
    else:
        found.lines.append(f"{file}: images by {each.matching}")
    rows = table.columns[each.matching.column]
    lost = [value or "(blank)" for value, image in zip(rows, each.matching.images, strict=True) if image is None]
    if lost:
        found.notes.append(f"{file}: {count(len(lost), 'row')} without an image: {few(lost)}")
    used = {each.matching.column, labels.column if labels is not None and layout.by_table else None}
    asked = {reading.groups, reading.split_column, reading.folds_by}
    for name, values in table.columns.items():
        if name in asked:
            found.columns.setdefault(name, {}).update(each.by_image(values))
        elif name not in used:
            _note_column(name, file, reading, found)
    found.notes += table.notes


def _note_labels(each: Beside, labels: Labels, reading: Reading, found: _Found) -> None:
    table, ids = each.table, each.table.columns[each.matching.column]
    if labels.several:
        row = labels.several[0]
        raise InputError(
            f"{table.path}: {count(len(labels.several), 'row')} with several labels, such as "
            f"'{table.columns[labels.column][row]}' of {ids[row]}; a study needs one label an image: remove "
            "these rows, or empty their labels"
        )
    if marked := sorted({table.columns[labels.column][row] for row in labels.missing} - {""}):
        n_rows = sum(table.columns[labels.column][row] != "" for row in labels.missing)
        found.notes.append(
            f"{table.path.name}: {count(n_rows, 'row')} without a label, marked {few(marked)}; --class-names "
            "makes such a mark a class"
        )


def _note_column(name: str, file: str, reading: Reading, found: _Found) -> None:
    """A note on a column that a study would use if it were asked to."""
    if reading.groups is None and any(word in plain(name) for word in _GROUP_WORDS):
        found.notes.append(
            f"{file} has a column '{name}': --groups '{name}' keeps its images on one side of every split"
        )
    elif reading.split_column is None and any(word in plain(name) for word in _SPLIT_WORDS):
        found.notes.append(f"{file} has a column '{name}': --split-column '{name}' uses it")


# The listing


def _listing(folder: Path, files: Files, reading: Reading, found: _Found, *, tables_read: bool) -> Listing:
    names = sorted(found.classes)
    classes, labels = np.unique([found.classes[name] for name in names], return_inverse=True)
    by_group = reading.groups or (GROUP if GROUP in found.columns else None)
    by_split = reading.split_column or (SPLIT if SPLIT in found.columns else None)
    groups = None if by_group is None else group_images(folder, names, found.columns, by_group)
    unknown = Counter(
        PurePosixPath(name).suffix.lower()
        for name in files.others
        if not _NOT_MENTIONED.match(PurePosixPath(name).name)
        and not (tables_read and name.lower().endswith(TABLE_SUFFIXES))
    )
    if unknown:
        kinds = ", ".join(f"{suffix} ({number})" for suffix, number in sorted(unknown.items()))
        found.notes.append(f"ignored files that are not images: {kinds}")
    if files.odd:
        found.notes.append(f"passed over {count(len(files.odd), 'pipe')}, sockets or devices: {few(files.odd)}")
    if files.excluded:
        found.notes.append(f"--exclude '{reading.exclude}' leaves out {count(len(files.excluded), 'image')}")
    for option, column in (("groups", by_group), ("split", by_split), ("folds", reading.folds_by)):
        if column is not None:
            found.lines.append(f"{option} by '{column}'")
    return Listing(
        source=folder.resolve().name or str(folder),
        classes=tuple(classes.tolist()),
        names=tuple(names),
        labels=labels.astype(np.int64),
        groups=groups,
        parts=None if by_split is None else given_values(folder, names, found.columns, by_split, "--split-column"),
        fold_names=None
        if reading.folds_by is None
        else given_values(folder, names, found.columns, reading.folds_by, "--folds-by"),
        reading=tuple(found.lines),
        notes=tuple(dict.fromkeys(found.notes)),
    )
