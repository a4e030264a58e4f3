"""Groups, given parts and given folds of images: by a column, a folder level, a file or their names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.labels import is_missing
from search.data.names import plain
from search.data.tables import TABLE_SUFFIXES, read_table

Columns = Mapping[str, Mapping[str, str]]
"""Name of a column or folder level -> image -> value."""


def given_values(
    folder: Path, names: Sequence[str], columns: Columns, column: str, option: str
) -> tuple[str, ...]:
    """A column's value of each image.

    Raises:
        InputError: there is no such column, or an image has no value; names the option.
    """
    by_image = columns.get(column)
    if by_image is None:
        raise InputError(
            f"{option} '{column}': neither a column of a table in {folder} nor a folder level of --layout"
        )
    values = [plain(by_image.get(name, "")) for name in names]
    for name, value in zip(names, values, strict=True):
        if is_missing(value):
            raise InputError(f"{folder / name}: no value of {option} '{column}'")
    return tuple(values)


def group_images(folder: Path, names: Sequence[str], columns: Columns, groups: str) -> NDArray[np.int64]:
    """Number of each image's group, shape (n_images,).

    Args:
        groups: a column, a CSV file with the columns file_name and group, or a regular expression.
    Raises:
        InputError: it is none of these, or an image has no group.
    """
    if groups in columns:
        texts = [columns[groups].get(name, "") for name in names]
    elif Path(groups).suffix.lower() == ".csv":
        texts = _groups_from_file(Path(groups), names)
    else:
        texts = _groups_by_pattern(folder, names, groups)
    if "" in texts:
        raise InputError(f"{folder / names[texts.index('')]}: no group by --groups '{groups}'")
    return np.unique(texts, return_inverse=True)[1].astype(np.int64)


def _groups_from_file(path: Path, names: Sequence[str]) -> list[str]:
    """Group of each image by a file with the columns file_name and group; one that it does not name is its own."""
    table = read_table(path)
    if not {"file_name", "group"} <= set(table.columns):
        raise InputError(f"{path}: a file of groups has the columns file_name and group")
    known = set(names)
    by_image = {
        image: group
        for image, group in zip(table.columns["file_name"], table.columns["group"], strict=True)
        if image in known and group
    }
    if not by_image:
        raise InputError(f"{path}: names no image of the data set, such as {names[0]}")
    return [by_image.get(name, f"/{name}") for name in names]


def _groups_by_pattern(folder: Path, names: Sequence[str], groups: str) -> list[str]:
    """Group of each image; '' if the pattern does not match its name."""
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    columns = "; ".join(f"{path.name}: {', '.join(read_table(path).columns)}" for path in tables)
    no_column = f"--groups '{groups}': not a column of a table ({columns or 'there is none'})"
    try:
        pattern = re.compile(groups)
    except re.error as error:
        raise InputError(f"{no_column} and not a regular expression: {error}") from None
    matches = [pattern.search(name) for name in names]
    texts = [(match[min(pattern.groups, 1)] or "") if match else "" for match in matches]
    if not any(texts):
        raise InputError(f"{no_column}, and as a regular expression it matches no image name, such as {names[0]}")
    return texts
