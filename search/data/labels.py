"""Labels from a table: the column that holds them, and what its cells say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.common.errors import InputError
from search.data.names import few, plain
from search.data.tables import Table

# Header words that mark the label column if several columns are possible, the clearest first.
_LABEL_WORDS = ("label", "class", "type", "categor", "diagnos")
# What spreadsheets, R and pandas write for a missing value; a cell without a letter or digit is missing as well.
_MISSING = {"", "nan", "na", "n/a", "#n/a", "null", "none", "<na>", "nil"}
_SURE_SEPARATORS, _SEPARATORS = r"\s*[,;|\n]\s*", r"\s*(?:[,;|\n/&+]|\band\b)\s*"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of a table's rows.

    Attributes:
        column: that holds them.
        classes: per row its class; None where the label is missing or there are several.
        missing, several: rows without a label, and rows with more than one.
        certain: the column's header or the class names say that it holds the labels.
    """

    column: str
    classes: tuple[str | None, ...]
    missing: tuple[int, ...]
    several: tuple[int, ...]
    certain: bool


def read_labels(
    table: Table,
    image_column: str,
    others: Sequence[str],
    *,
    label_column: str | None,
    class_names: Mapping[str, str],
    known_classes: Sequence[str] = (),
) -> Labels | None:
    """Find the label column, and read its cells.

    Args:
        image_column: the column that names the images.
        others: columns with another purpose, such as the groups.
        label_column: the column to use; None: the one that holds labels.
        class_names: plain label -> class.
        known_classes: names that the labels have if they say the same as the folders.
    Returns:
        The labels; None if no column is left.
    Raises:
        InputError: a column that is not there, several that could hold labels, or a label without a class name.
    """
    column, certain = _label_column(table, {image_column, *others}, label_column, class_names, known_classes)
    if column is None:
        return None
    cells = [plain(cell) for cell in table.columns[column]]
    missing = {row for row, cell in enumerate(cells) if is_missing(cell) and cell not in class_names}
    single = {cell for row, cell in enumerate(cells) if row not in missing}
    several = {row for row, cell in enumerate(cells) if row not in missing and _is_several(cell, single)}
    classes = [
        None if row in missing or row in several else _class_of(table, cell, class_names)
        for row, cell in enumerate(cells)
    ]
    return Labels(
        column=column,
        classes=tuple(classes),
        missing=tuple(sorted(missing)),
        several=tuple(sorted(several)),
        certain=certain,
    )


def is_missing(cell: str) -> bool:
    """Whether a plain cell stands for no value."""
    return cell in _MISSING or not any(character.isalnum() for character in cell)


def _is_several(cell: str, known: set[str]) -> bool:
    """Whether a cell lists labels that other cells have alone."""
    sure = [part for part in re.split(_SURE_SEPARATORS, cell) if part]
    if len(sure) > 1 and any(part in known for part in sure):
        return True
    parts = [part for part in re.split(_SEPARATORS, cell) if part]
    return len(parts) > 1 and all(part in known for part in parts)


def _class_of(table: Table, label: str, class_names: Mapping[str, str]) -> str:
    if class_names and label not in class_names:
        raise InputError(
            f"{table.path}: label '{label}' has no class name; names are given for {', '.join(class_names)}"
        )
    return class_names.get(label, label)


def _label_column(
    table: Table,
    used: set[str],
    label_column: str | None,
    class_names: Mapping[str, str],
    known_classes: Sequence[str],
) -> tuple[str | None, bool]:
    """The label column, and whether it is certain."""
    if label_column is not None:
        if label_column not in table.columns:
            raise InputError(
                f"{table.path}: --label-column '{label_column}' is not a column; columns: "
                f"{', '.join(table.columns)}"
            )
        return label_column, True
    names = [name for name in table.columns if name not in used]
    if not names:
        return None, False
    spoken = [name for name in names if _says(table, name, known_classes)]
    if len(spoken) == 1:
        return spoken[0], True
    # Without class names no column fits, and all remain.
    fitting = [name for name in names if _says(table, name, class_names)]
    if len(fitting) == 1:
        return fitting[0], True
    names = fitting or names
    for word in _LABEL_WORDS:
        named = [name for name in names if word in plain(name)]
        if len(named) == 1:
            return named[0], True
    if len(names) == 1:
        return names[0], False
    repeated = [name for name in names if 1 < len(set(table.columns[name])) <= table.n_rows / 2]
    if len(repeated) == 1:
        return repeated[0], False
    raise InputError(
        f"{table.path}: several columns could be the labels: {few(names)}; choose with --label-column, such as "
        f"--label-column '{names[0]}'"
    )


def _says(table: Table, column: str, classes: Sequence[str] | Mapping[str, str]) -> bool:
    """Whether all values of a column that are there are among the classes."""
    cells = [cell for value in table.columns[column] if not is_missing(cell := plain(value))]
    return bool(cells) and all(cell in classes for cell in cells)
