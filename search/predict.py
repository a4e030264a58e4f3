"""The command that classifies images with a study's winner: `python -m search.predict`."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.markup import escape
from rich.prompt import Confirm
from rich.table import Table

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.common.files import write_atomically
from search.data.decode import read_rgb, resize_square
from search.data.files import files_below
from search.records.schema import field_of
from search.training.rebuild import UntrustedCodeError
from search.training.trainedmodel import TrainedModel, load_model

app = make_app("search.predict")
# For an image's name, which is folded, and its predicted class.
IMAGE_COLUMNS = 40


@app.default
def main(
    study: Path, images: list[Path], /, *, output: Path | None = None, skip_bad: bool = False, trust: bool = False
) -> None:
    """Print or write the predicted class of every image, and the probability of each class.

    Args:
        study: Folder of a study.
        images: Image files, or folders of them.
        output: Parquet file to write; by default a table is printed.
        skip_bad: Leave out images that cannot be read, and name them.
        trust: Run the Python file in the study's folder that defines its network, without asking.
    """
    console = make_console()
    model = _load(study / "model", trusted=trust)
    names, pixels = _read(_image_files(images), model.config.input_px, skip_bad=skip_bad)
    probabilities = model.predict(pixels)
    if output is not None:
        _write(output, names, model.classes, probabilities)
        console.print(f"{len(names)} images  {escape(str(output))}", soft_wrap=True)
    else:
        in_columns = IMAGE_COLUMNS + sum(max(cell_len(name), 5) + 2 for name in model.classes) <= console.width
        tabulate = _table if in_columns else _short_table
        console.print(tabulate(names, model.classes, probabilities))


def _load(folder: Path, *, trusted: bool) -> TrainedModel:
    """The study's network; code that defines it runs only if the user agrees."""
    try:
        return load_model(folder, trusted=trusted)
    except UntrustedCodeError as error:
        if not sys.stdin.isatty() or not Confirm.ask(f"{escape(str(error))}. Run it?", default=False):
            raise InputError(f"{error}; read it, and give --trust to run it") from None
    return load_model(folder, trusted=True)


def _image_files(paths: list[Path]) -> list[Path]:
    """The given files, and the images in the given folders."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = [path / name for name in files_below(path).images]
        if not found:
            raise InputError(f"{path}: no images in this folder")
        files += found
    return files


def _read(files: list[Path], side_px: int, *, skip_bad: bool) -> tuple[list[str], NDArray[np.uint8]]:
    """Names and pixels, uint8 (n_images, side, side, 3); `skip_bad` reports damaged images and leaves them out."""
    names, squares = [], []
    for file in files:
        try:
            squares.append(resize_square(read_rgb(file), side_px))
            names.append(str(file))
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error}; --skip-bad leaves out such files") from None
            make_console(stderr=True).print(f"left out: {escape(str(error))}", soft_wrap=True)
    if not names:
        raise InputError("none of the images can be read")
    return names, np.stack(squares)


def _table(names: list[str], classes: tuple[str, ...], probabilities: NDArray[np.float64]) -> Table:
    table = Table(box=None, header_style="dim")
    table.add_column("image", overflow="fold")
    table.add_column("predicted")
    for name in classes:
        table.add_column(escape(name), justify="right")
    for name, row in zip(names, probabilities, strict=True):
        shares = (f"{share:.3f}" for share in row)
        table.add_row(escape(name), f"[bold]{escape(classes[row.argmax()])}[/bold]", *shares)
    return table


def _short_table(names: list[str], classes: tuple[str, ...], probabilities: NDArray[np.float64]) -> Table:
    """The three most probable classes of each image, where a column for each class is too much."""
    table = Table(box=None, header_style="dim")
    table.add_column("image", overflow="fold")
    table.add_column("predicted", overflow="fold")
    table.add_column("most probable", overflow="fold")
    for name, row in zip(names, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:3]
        shares = ", ".join(f"{classes[k]} {row[k]:.3f}" for k in best)
        table.add_row(escape(name), f"[bold]{escape(classes[best[0]])}[/bold]", escape(shares))
    return table


def _write(path: Path, names: list[str], classes: tuple[str, ...], probabilities: NDArray[np.float64]) -> None:
    columns = {
        "image": names,
        "predicted": [classes[k] for k in probabilities.argmax(1)],
        **{f"probability_{name}": probabilities[:, k] for k, name in enumerate(classes)},
    }
    schema = pa.schema([field_of(name) for name in columns])
    write_atomically(path, pa.table(columns, schema=schema))


if __name__ == "__main__":
    run_app(app)
