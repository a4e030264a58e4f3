"""Names as they are compared: of files, columns, labels and classes."""

import re
import unicodedata
from collections.abc import Iterable


def plain(text: str) -> str:
    """A name in lower case and composed Unicode, and whole numbers without the '.0' that spreadsheets add.

    Some systems store an accented letter as one character, others as two that look the same.
    """
    return re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFC", text.strip()).lower())


def is_drawn(data_set: str) -> bool:
    """Whether a data set of this name holds drawn cells."""
    return data_set.startswith("synthetic")


def few(names: Iterable[str], most: int = 5) -> str:
    """The first names, and dots if there are more."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, such as '1 image' or '2,000 images'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
