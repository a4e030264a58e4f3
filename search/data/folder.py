"""Data sets in folders: a sub-folder per class, or images next to one label file."""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.decode import EXTENSIONS, decode_listing, files_below, read_rgb
from search.data.imageset import ImageSet, Listing

_TABLES = (".csv", ".tsv")
_NOT_MENTIONED = re.compile(r"thumbs\.db$|desktop\.ini$|read_?me|.*\.(txt|md)$|[^.]*$", re.IGNORECASE)
# Header words that mark the label column if several columns are possible, the clearest first.
_LABEL_WORDS = ("label", "class", "type", "categor", "diagnos")


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """The images of a folder, listed but not yet decoded."""

    folder: Path
    listing: Listing

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False) -> ImageSet:
        """Decode every image once and scale it to each of the square sides.

        Args:
            sides_px: sides to scale to.
            skip_bad: leave out damaged images and name them in `notes`.
        Raises:
            InputError: a damaged image, which it names; with skip_bad, too few images are left.
        """
        images = decode_listing(self.folder, self.listing, sides_px, skip_bad=skip_bad)
        _require_two_classes(self.folder, images)
        return images

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """Read one image of the listing at its full size."""
        return read_rgb(self.folder / name)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Image name -> class, and image name -> group if a column gives groups; both as text."""

    classes: dict[str, str]
    groups: dict[str, str] | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_folder(
    folder: Path, *, class_names: Mapping[str, str] | None = None, groups: str | None = None
) -> FolderSource:
    """List the images of a folder with their labels and groups.

    Either every class has a sub-folder with its name, which may have sub-folders of its own; or the images are
    in the folder itself, next to one CSV or TSV file, whose columns are recognised by their content. Class names
    become lower case, so that a class has the same name in every data set.

    Args:
        folder: the folder.
        class_names: label or sub-folder -> class; case is ignored. With a label file it must name every label.
        groups: a column of the label file, or else a regular expression that is searched in each image's name;
            its first capture group (without one, the whole match) is the image's group.
    Returns:
        The source; images are sorted by name.
    Raises:
        InputError: a folder, label file, label, column or pattern that cannot be used; names it.
    """
    images, others = files_below(folder)
    if not images:
        raise InputError(f"{folder}: no images ({' '.join(EXTENSIONS)})")
    renamed = {_plain(key): name.strip().lower() for key, name in (class_names or {}).items()}
    tables = [name for name in others if "/" not in name and name.lower().endswith(_TABLES)]
    flat = [name for name in images if "/" not in name]
    if not flat or not tables:
        found = _from_sub_folders(folder, images, renamed)
    elif len(flat) < len(images):
        below = sorted({name.split("/")[0] for name in images if "/" in name})
        raise InputError(
            f"{folder}: images next to {tables[0]} and also in sub-folders ({_few(below)}); remove one of the two"
        )
    elif len(tables) > 1:
        raise InputError(f"{folder}: more than one label file ({', '.join(tables)}); keep one")
    else:
        found = _from_table(folder / tables[0], images, renamed, groups)
    listing = _listing(folder, found, groups, others)
    _require_two_classes(folder, listing)
    return FolderSource(folder=folder, listing=listing)


def _from_sub_folders(folder: Path, images: list[str], renamed: dict[str, str]) -> _Found:
    inside = [name for name in images if "/" in name]
    if not inside:
        raise InputError(f"{folder}: images without labels: no CSV file next to them, no sub-folder per class")
    folders = {name.split("/")[0] for name in inside}
    class_of = {name: renamed.get(_plain(name), name.strip().lower()) for name in folders}
    notes = []
    if strays := [name for name in images if "/" not in name]:
        notes.append(f"left out {len(strays)} images outside the class folders: {_few(strays)}")
    if empty := sorted({path.name for path in folder.glob("[!.]*/")} - folders):
        notes.append(f"folders without images: {_few(empty)}")
    return _Found(classes={name: class_of[name.split("/")[0]] for name in inside}, notes=tuple(notes))


def _from_table(path: Path, images: list[str], renamed: dict[str, str], groups: str | None) -> _Found:
    columns = _read_table(path)
    files = _FilesById(images)
    id_column = _id_column(path, columns, files)
    label_column = _label_column(path, columns, id_column, renamed, groups)
    group_cells = columns.get(groups) if groups is not None else None
    found: dict[str, tuple[str, str]] = {}
    without_file = []
    for row, (image_id, label) in enumerate(zip(columns[id_column], columns[label_column], strict=True)):
        matches = files.find(image_id)
        if len(matches) > 1:
            raise InputError(f"{path}: '{image_id}' could be any of {', '.join(matches)}")
        if not matches:
            without_file.append(image_id or "(blank)")
        elif label:
            values = _class_of(path, label, renamed), group_cells[row] if group_cells else ""
            if found.setdefault(matches[0], values) != values:
                rows = " and ".join(" ".join(filter(None, each)) for each in (found[matches[0]], values))
                raise InputError(f"{path}: two rows of '{image_id}' differ: {rows}")
    notes = []
    if len(columns) > 2:
        notes.append(f"{path.name}: images by column '{id_column}', labels from column '{label_column}'")
    if without_file:
        notes.append(f"{path.name}: {len(without_file)} rows without an image: {_few(without_file)}")
    if without_label := [name for name in images if name not in found]:
        notes.append(f"left out {len(without_label)} images without a label: {_few(without_label)}")
    return _Found(
        classes={name: label for name, (label, _) in found.items()},
        groups={name: group for name, (_, group) in found.items()} if group_cells else None,
        columns=tuple(columns),
        notes=tuple(notes),
    )


def _class_of(path: Path, label: str, renamed: dict[str, str]) -> str:
    plain = _plain(label)
    if renamed and plain not in renamed:
        raise InputError(f"{path}: label '{label}' has no class name; names are given for {', '.join(renamed)}")
    return renamed.get(plain, plain)


def _read_table(path: Path) -> dict[str, list[str]]:
    """Column name -> values, for any of the usual delimiters and encodings."""
    try:
        data = path.read_bytes()
        # Spreadsheets write UTF-8 with or without a byte order mark, UTF-16 with one, or the system's 8-bit code.
        encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        first = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(",;\t|", key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows = [row for row in ([value.strip() for value in line] for line in lines) if any(row)]
    if len(rows) < 2:
        raise InputError(f"{path}: no labels; it needs a line of column names and one line per image")
    header = [name or f"column {number}" for number, name in enumerate(rows[0], start=1)]
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path}: two columns are named '{repeated[0]}'")
    for row in rows[1:]:
        if any(row[len(header) :]):
            raise InputError(f"{path}: the row of '{row[0]}' has more values than the {len(header)} columns")
        row.extend([""] * (len(header) - len(row)))
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(header)}
    return {name: values for name, values in columns.items() if any(values)}


class _FilesById:
    """Image files by their identifiers in a table: whole name, stem, or number without leading zeros."""

    def __init__(self, images: list[str]) -> None:
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        self._by_id: defaultdict[str, list[str]] = defaultdict(list)
        for name in images:
            self._by_name[name.lower()].append(name)
            self._by_id[self._id(name)].append(name)

    def find(self, image_id: str) -> list[str]:
        name = re.split(r"[\\/]", image_id)[-1].lower()
        return self._by_name.get(name) or self._by_id.get(self._id(name), [])

    @staticmethod
    def _id(name: str) -> str:
        path = PurePosixPath(name.lower())
        stem = _plain(path.stem if path.suffix in EXTENSIONS else path.name)
        return stem.lstrip("0") or "0" if stem.isdecimal() else stem


def _id_column(path: Path, columns: dict[str, list[str]], files: _FilesById) -> str:
    # A column that names the same files again and again is not the one: labels 1..5 match files 1..5 as well.
    matched = {}
    for name, values in columns.items():
        hits = [file for value in values for file in files.find(value)]
        matched[name] = len(set(hits)) if len(set(hits)) > len(hits) / 2 else 0
    best = max(matched, key=lambda name: matched[name])
    if files.find(best):
        raise InputError(f"{path}: the first line must name the columns, but it names the image '{best}'")
    if not matched[best]:
        raise InputError(f"{path}: no column names the images in its folder; columns: {', '.join(columns)}")
    return best


def _label_column(
    path: Path, columns: dict[str, list[str]], id_column: str, renamed: dict[str, str], groups: str | None
) -> str:
    names = [name for name in columns if name not in (id_column, groups)]
    if not names:
        raise InputError(f"{path}: no label column, only '{id_column}'")
    # Without class names no column fits, and all remain.
    fitting = [name for name in names if all(_plain(value) in renamed for value in columns[name] if value)]
    names = fitting or names
    if len(names) == 1:
        return names[0]
    for word in _LABEL_WORDS:
        named = [name for name in names if word in name.lower()]
        if len(named) == 1:
            return named[0]
    repeated = [name for name in names if 1 < len(set(columns[name])) <= len(columns[name]) / 2]
    if len(repeated) == 1:
        return repeated[0]
    raise InputError(f"{path}: several columns could be the labels: {', '.join(names)}; name one of them 'label'")


def _listing(folder: Path, found: _Found, groups: str | None, others: list[str]) -> Listing:
    names = sorted(found.classes)
    classes, labels = np.unique([found.classes[name] for name in names], return_inverse=True)
    unknown = Counter(
        PurePosixPath(name).suffix.lower()
        for name in others
        if not _NOT_MENTIONED.match(PurePosixPath(name).name)
        and not (found.columns and name.lower().endswith(_TABLES))
    )
    kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(unknown.items()))
    return Listing(
        source=folder.resolve().name or str(folder),
        classes=tuple(classes.tolist()),
        names=tuple(names),
        labels=labels.astype(np.int64),
        groups=None if groups is None else _groups(folder, names, found, groups),
        notes=found.notes + ((f"ignored files that are not images: {kinds}",) if unknown else ()),
    )


def _groups(folder: Path, names: list[str], found: _Found, groups: str) -> NDArray[np.int64]:
    texts = [found.groups[name] for name in names] if found.groups else _groups_by_pattern(names, found, groups)
    if "" in texts:
        raise InputError(f"{folder / names[texts.index('')]}: no group by --groups '{groups}'")
    return np.unique(texts, return_inverse=True)[1].astype(np.int64)


def _groups_by_pattern(names: list[str], found: _Found, groups: str) -> list[str]:
    """Group of each image; '' if the pattern does not match its name."""
    columns = f"one of {', '.join(found.columns)}" if found.columns else "there is no label file"
    no_column = f"--groups '{groups}': not a column of the label file ({columns})"
    try:
        pattern = re.compile(groups)
    except re.error as error:
        raise InputError(f"{no_column} and not a regular expression: {error}") from None
    matches = [pattern.search(name) for name in names]
    texts = [(match[min(pattern.groups, 1)] or "") if match else "" for match in matches]
    if not any(texts):
        raise InputError(f"{no_column}, and as a regular expression it matches no image name, such as {names[0]}")
    return texts


def _require_two_classes(folder: Path, listing: Listing) -> None:
    if not listing.names:
        raise InputError(f"{folder}: no image has a label and can be read")
    if len(listing.classes) == 1:
        raise InputError(f"{folder}: only one class, '{listing.classes[0]}'; a study needs at least two")
    counts = listing.class_counts().tolist()
    if sum(count >= 2 for count in counts) < 2:
        found = ", ".join(f"{name} ({count})" for name, count in zip(listing.classes, counts, strict=True))
        raise InputError(f"{folder}: a study needs two classes with at least two images each; found {found}")


def _plain(text: str) -> str:
    """Lower case, and whole numbers without the '.0' that spreadsheets add to columns with gaps."""
    return re.sub(r"^(\d+)\.0+$", r"\1", text.strip().lower())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
