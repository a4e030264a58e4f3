"""The command that looks for what is suspicious in data sets: `python -m search.audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from search.common.commandline import make_app, run_app
from search.common.console import make_console, reading_progress
from search.common.errors import InputError
from search.common.files import write_atomically, write_text
from search.data.reading import Reading, parse_class_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = make_app("search.audit")
SEED = 0


@app.default
def main(
    folders: Annotated[list[str], Parameter(name="FOLDER")],
    /,
    *,
    layout: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    groups: str | None = None,
    split_column: str | None = None,
    class_names: str | None = None,
    exclude: str | None = None,
    folds: int = 10,
    table: Path | None = None,
    page: Path | None = None,
    groups_file: Path | None = None,
) -> None:
    """Show what a study would read of data sets, and what is suspicious in them.

    Args:
        folders: Folders of images, as --data of a study; several are also compared with each other.
        layout: What each folder level is, such as split/class; by default found.
        image_column: Column of the table that names the images.
        label_column: Column of the table that holds the labels.
        groups: A column, a folder level, a CSV file, or a regular expression on names.
        split_column: Column that gives each image's part.
        class_names: Class names by label, such as 1=neutrophil,2=lymphocyte.
        exclude: Images to leave out, as a shell pattern.
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
    # With SciPy and Pillow, for which --help need not wait.
    from search.audit.audit import audit
    from search.audit.datasets import names_of, refuse_as_a_study_would
    from search.audit.groups import groups_text
    from search.audit.page.build import build_page
    from search.audit.reading import read_photos
    from search.audit.table import audit_table
    from search.audit.terminal import print_audit, print_reading
    from search.data.sources import open_source

    console = make_console()
    reading = Reading(
        layout=layout,
        image_column=image_column,
        label_column=label_column,
        groups=groups,
        split_column=split_column,
        class_names=None if class_names is None else parse_class_names(class_names),
        exclude=exclude,
    )
    sources = [open_source(folder, microscope="first", seed=SEED, reading=reading) for folder in folders]
    for source in sources:
        print_reading(console, source.listing)
    names = names_of(folders, sources)
    with reading_progress(console, sum(len(source.listing.names) for source in sources)) as on_read:
        photos = read_photos(sources, names, on_read=on_read)
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

        def photograph(place: int) -> "NDArray[np.uint8]":
            return sources[photos.source[place]].photograph(photos.names[place])

        write_text(page, build_page(found, photograph))
        _say_written(console, "page", page)
    if groups_file is not None:
        write_text(groups_file, groups_text(found))
        _say_written(console, "groups", groups_file)
    refuse_as_a_study_would(photos, sources)


def _say_written(console: Console, what: str, path: Path) -> None:
    console.print(f"[bold]{what}[/bold]  {escape(str(path))}", soft_wrap=True)


if __name__ == "__main__":
    run_app(app)
