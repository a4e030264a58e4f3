"""The command that looks for what is suspicious in data sets: `python -m search.audit`."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from search.audit.audit import audit
from search.audit.groups import groups_text
from search.audit.page.build import build_page
from search.audit.photos import Photos
from search.audit.reading import read_photos
from search.audit.table import audit_table
from search.audit.terminal import print_audit
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.common.files import write_atomically, write_text
from search.data.imageset import Source
from search.data.sources import open_source

app = make_app("search.audit")
SEED = 0


@app.default
def main(
    folders: Annotated[list[str], Parameter(name="FOLDER")],
    /,
    *,
    folds: int = 10,
    table: Path | None = None,
    page: Path | None = None,
    groups_file: Path | None = None,
) -> None:
    """Show what a study would read of data sets, and what is suspicious in them.

    Args:
        folders: Folders of images, as --data of a study; several are also compared with each other.
        folds: Folds of a study's comparison.
        table: Parquet file to write: one row per image.
        page: HTML file to write: the findings with their images.
        groups_file: CSV file to write, of one folder: groups that keep near-identical images together.
    """
    if groups_file is not None and len(folders) > 1:
        raise InputError(f"--groups-file {groups_file}: groups are of one data set; give one folder")
    if folds < 2:
        raise InputError(f"--folds {folds}: must be at least 2")
    for path in filter(None, (table, page, groups_file)):
        if not path.parent.is_dir():
            raise InputError(f"{path}: no folder {path.parent}; create it")
    console = make_console()
    sources = [open_source(folder, microscope="first", seed=SEED) for folder in folders]
    photos = _read(console, sources, _names(folders, sources))
    if not photos.readable.any():
        raise InputError(f"{folders[0]}: none of the images can be read")
    with console.status("comparing images"):
        found = audit(photos, folds, seed=SEED)
    print_audit(console, found)
    console.print()
    if table is not None:
        write_atomically(table, audit_table(found))
        _say_written(console, "table", table)
    if page is not None:

        def photograph(place: int) -> NDArray[np.uint8]:
            return sources[photos.source[place]].photograph(photos.names[place])

        write_text(page, build_page(found, photograph))
        _say_written(console, "page", page)
    if groups_file is not None:
        write_text(groups_file, groups_text(found))
        _say_written(console, "groups", groups_file)


def _names(folders: list[str], sources: list[Source]) -> list[str]:
    """Names of the data sets, all different."""
    names = [source.listing.source for source in sources]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    names = [folder if name in repeated else name for folder, name in zip(folders, names, strict=True)]
    if len(set(names)) < len(names):
        raise InputError(f"{Counter(names).most_common(1)[0][0]}: given twice")
    return names


def _read(console: Console, sources: list[Source], names: list[str]) -> Photos:
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=sum(len(source.listing.names) for source in sources))
        return read_photos(sources, names, progress=lambda: bar.advance(task))


def _say_written(console: Console, what: str, path: Path) -> None:
    console.print(f"[bold]{what}[/bold]  {escape(str(path))}", soft_wrap=True)


if __name__ == "__main__":
    run_app(app)
