"""The options that say how a data set is read, where its files leave more than one reading."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.common.errors import InputError
from search.data.names import plain


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a data set is read. What is None is found out, or refused where it is not certain.

    Attributes:
        layout: what the folder levels are, such as "class", "split/class" or "patient/*/class", or "table" and
            "split/table" where labels are in a table; see `search.data.layout.parse_layout`.
        image_column, label_column: columns of the table.
        split_column: column or folder level that gives each image's part.
        folds_by: column or folder level whose values are the folds of the comparison, such as a laboratory.
        groups: a column, a folder level, a CSV file with the columns file_name and group, or a regular expression
            that is searched in each image's name; its first capture group (without one, the whole match) is the
            image's group.
        class_names: label or sub-folder -> class; case is ignored. With a table it must name every label.
        exclude: shell pattern of images to leave out.
    """

    layout: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    folds_by: str | None = None
    groups: str | None = None
    class_names: Mapping[str, str] | None = None
    exclude: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """The class names by label, as they are compared."""
        return {plain(label): plain(name) for label, name in (self.class_names or {}).items()}


def parse_class_names(text: str) -> dict[str, str]:
    """Class names by label, of text such as 1=neutrophil,2=lymphocyte.

    Raises:
        InputError: not of that form, or a label is named twice.
    """
    names: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not (label and equals and name):
            raise InputError(f"--class-names {text}: {part!r} is not LABEL=NAME")
        if label in names:
            raise InputError(f"--class-names {text}: names label {label!r} twice")
        names[label] = name
    return names
