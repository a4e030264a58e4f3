"""Figures as files, PNG and SVG: the same figure gives the same file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from search.common.errors import StudyFailedError
from search.common.files import replace_file
from search.report.figures.style import STYLE

# Without a date in the file, the same study gives the same files.
METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg to a folder, which is created in its parent, and return their paths.

    Raises:
        StudyFailedError: a file cannot be written.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
    files = {kind: folder / f"{name}.{kind}" for kind in METADATA}
    with matplotlib.rc_context(STYLE):
        for kind, file in files.items():
            _save(figure, file, kind)
            figure.set_layout_engine(None)  # the next format keeps the layout, and does not draw twice to find it
    return list(files.values())


def _save(figure: Figure, file: Path, kind: str) -> None:
    replace_file(file, lambda partial: figure.savefig(partial, format=kind, metadata=METADATA[kind]))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise what the system refuses as a StudyFailedError that names the path."""
    try:
        yield
    except OSError as error:
        raise StudyFailedError(f"{path}: {error.strerror}") from error
