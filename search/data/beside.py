"""Tables beside images, by the images that their rows name and the labels that they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from search.common.errors import InputError
from search.data.labels import Labels, read_labels
from search.data.matching import Matching, match_rows
from search.data.names import few, plain
from search.data.reading import Reading
from search.data.tables import Table, read_table


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A table whose rows name images, with the labels that it holds."""

    table: Table
    matching: Matching
    labels: Labels | None

    def by_image(self, values: Sequence[str | None]) -> dict[str, str]:
        """Values of the rows by image.

        Raises:
            InputError: two rows of one image differ.
        """
        found: dict[str, str] = {}
        names = self.table.columns[self.matching.column]
        for name, image, value in zip(names, self.matching.images, values, strict=True):
            if image is not None and value is not None and found.setdefault(image, value) != value:
                raise InputError(f"{self.table.path}: two rows of '{name}' differ: {found[image]} and {value}")
        return found


def tables_beside(
    folder: Path,
    tables: Sequence[str],
    images: Sequence[str],
    tops: Sequence[str],
    reading: Reading,
    *,
    needed: bool,
) -> tuple[list[Beside], list[str]]:
    """The tables that name images, and notes on those that are not used.

    Args:
        tables: names of the tables.
        images: names of the images.
        tops: the top folders, which may be the classes.
        needed: the labels are in a table. Else one that cannot be used is noted.
    Raises:
        InputError: a table cannot be used although labels or options need it, or several hold labels.
    """
    beside, notes = [], []
    for name in tables:
        try:
            each = read_beside(read_table(folder / name), images, [] if needed else tops, reading)
        except InputError as error:
            if needed or _asks_for_columns(reading):
                raise
            notes.append(f"not used: {error}")
            continue
        if each is not None:
            beside.append(each)
        elif needed and len(tables) == 1:
            columns = ", ".join(read_table(folder / name).columns)
            raise InputError(f"{folder / name}: no column names the images in its folder; columns: {columns}")
    labelled = [each.table.path.name for each in beside if each.labels is not None]
    if needed and not labelled:
        raise InputError(f"{folder}: no table beside the images labels them ({few(tables) or 'there is none'})")
    if len(labelled) > 1:
        raise InputError(f"{folder}: more than one label file ({', '.join(labelled)}); keep one")
    return beside, notes


def table_of_part(
    folder: Path, top: str, images: Sequence[str], tables: Sequence[str], reading: Reading
) -> Beside:
    """The table of one part: in its folder, or beside it with its name.

    Raises:
        InputError: there is not exactly one, or it cannot be used.
    """
    own = [name for name in tables if name.split("/")[0] == top] or [
        name for name in tables if "/" not in name and plain(PurePosixPath(name).stem) == plain(top)
    ]
    if len(own) != 1:
        raise InputError(
            f"{folder / top}: it needs one table, in it or beside it as {top}.csv; found {few(own) or 'none'}"
        )
    each = read_beside(
        read_table(folder / own[0]), [name for name in images if name.split("/")[0] == top], [], reading
    )
    if each is None or each.labels is None:
        raise InputError(f"{folder / own[0]}: no column names the images of {top}, or none holds their labels")
    return each


def read_beside(table: Table, images: Sequence[str], tops: Sequence[str], reading: Reading) -> Beside | None:
    """A table by its images and labels; beside class folders only labels that are certain count.

    Args:
        images: names of the images.
        tops: the class folders; none if the labels must be in the table.
    Returns:
        None if no column names the images.
    Raises:
        InputError: it cannot be used; names it, and the option that settles what is not certain.
    """
    for name in table.columns:
        if any(plain(name) == plain(image) for image in images):
            raise InputError(
                f"{table.path}: the first line must name the columns, but it names the image '{name}'"
            )
    matching = match_rows(table, images, reading.image_column)
    if matching is None:
        return None
    others = [name for name in (reading.groups, reading.split_column, reading.folds_by) if name is not None]
    classes = {plain(name) for name in tops}
    renamed = reading.names
    try:
        labels = read_labels(
            table,
            matching.column,
            others,
            label_column=reading.label_column,
            class_names=renamed,
            known_classes=sorted(classes | {renamed.get(name, name) for name in classes}),
        )
    except InputError:
        if not tops:
            raise
        labels = None
    if labels is not None and tops and not labels.certain and len(tops) > 1:
        labels = None
    if labels is None and not tops:
        raise InputError(f"{table.path}: no label column, only '{matching.column}'")
    return Beside(table=table, matching=matching, labels=labels)


def _asks_for_columns(reading: Reading) -> bool:
    return any((reading.image_column, reading.label_column, reading.split_column, reading.folds_by))
