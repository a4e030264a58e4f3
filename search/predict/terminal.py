"""Predictions and their scores as tables in the terminal."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.analysis.statistics import Interval
from search.analysis.words import metric_words
from search.common.errors import InputError
from search.data.names import is_drawn
from search.predict.predictions import Predictions
from search.predict.scores import confusion, scores
from search.training.trainedmodel import TrainedModel
from search.training.typical import BEYOND

# For an image's name, which is folded, and its predicted class.
IMAGE_COLUMNS = 40
UNLIKE = "unlike"


def predictions_table(found: Predictions, width: int) -> Table:
    """Every image with its predicted class and the probabilities, of the three most probable where room is short.

    Args:
        width: of the terminal, in columns.
    """
    marked = found.unlike is not None and bool(found.unlike.any())
    needed = IMAGE_COLUMNS + sum(max(cell_len(name), 5) + 2 for name in found.classes)
    fits = needed + marked * (len(UNLIKE) + 2) <= width
    table = _table()
    table.add_column("image", overflow="fold")
    if found.labels is not None:
        table.add_column("label", overflow="fold")
    table.add_column("predicted", overflow="fold")
    if marked:
        table.add_column(UNLIKE)
    if fits:
        for name in found.classes:
            table.add_column(escape(name), justify="right")
    else:
        table.add_column("most probable", overflow="fold")
    for k, (name, predicted, row) in enumerate(
        zip(found.names, found.predicted, found.probabilities, strict=True)
    ):
        cells = [escape(name), f"[bold]{escape(predicted)}[/bold]"]
        if found.labels is not None:
            cells.insert(1, escape(found.labels[k] or ""))
        if marked and found.unlike is not None:
            cells.append("yes" if found.unlike[k] else "")
        cells += [f"{share:.3f}" for share in row] if fits else [_most_probable(found.classes, row)]
        table.add_row(*cells)
    return table


def counts_table(found: Predictions) -> Table:
    """How many images each class is predicted for."""
    counts = np.bincount(found.probabilities.argmax(1), minlength=len(found.classes))
    table = _table()
    table.add_column("class", overflow="fold")
    table.add_column("images", justify="right")
    table.add_column("share", justify="right")
    for name, n_images in zip(found.classes, counts, strict=True):
        table.add_row(escape(name), str(n_images), f"{n_images / len(found.names):.1%}")
    return table


def scores_table(found_scores: Mapping[str, Interval], n_images: int) -> Table:
    """Scores with their intervals."""
    table = _table()
    table.add_column(f"{n_images} labelled images")
    table.add_column("score", justify="right")
    table.add_column("95 % interval")
    for name, found in found_scores.items():
        table.add_row(metric_words(name), f"{found.mean:.3f}", f"{found.low:.3f} to {found.high:.3f}")
    return table


def confusion_table(counts: NDArray[np.int64], classes: Sequence[str], width: int) -> Table:
    """The confusion matrix of the classes that occur; where room is short, the confusions as a list.

    Args:
        counts: images of each true class (row) by predicted class (column).
        width: of the terminal, in columns.
    """
    occurring = np.flatnonzero(counts.sum(0) + counts.sum(1)).tolist()
    names = [escape(classes[k]) for k in occurring]
    lengths = [cell_len(classes[k]) for k in occurring]
    table = _table()
    if max(*lengths, 4) + sum(max(length, 5) + 2 for length in lengths) + 2 <= width:
        table.add_column("true")
        for name in names:
            table.add_column(name, justify="right")
        for k, name in zip(occurring, names, strict=True):
            table.add_row(name, *(str(counts[k, other]) for other in occurring))
        return table
    table.add_column("true", overflow="fold")
    table.add_column("predicted", overflow="fold")
    table.add_column("images", justify="right")
    mistakes = counts - np.diag(np.diag(counts))
    for cell in np.argsort(-mistakes, axis=None, kind="stable")[: np.count_nonzero(mistakes)]:
        true, predicted = divmod(int(cell), len(classes))
        table.add_row(escape(classes[true]), escape(classes[predicted]), str(mistakes[true, predicted]))
    return table


def _most_probable(classes: Sequence[str], probabilities: NDArray[np.float64]) -> str:
    best = np.argsort(-probabilities, kind="stable")[:3]
    return escape(", ".join(f"{classes[k]} {probabilities[k]:.3f}" for k in best))


def _table() -> Table:
    return Table(box=None, header_style="dim")


def print_scores(console: Console, found: Predictions) -> None:
    """Print the scores and confusions of the labelled images.

    Raises:
        InputError: there are none.
    """
    labelled = found.labelled()
    if not labelled.names:
        raise InputError("none of the images that can be read has a label")
    console.print(scores_table(scores(labelled), len(labelled.names)))
    console.print(confusion_table(confusion(labelled), found.classes, console.width))
    if without := len(found.names) - len(labelled.names):
        _note(console, f"{without} of {len(found.names)} images have no label and are not scored")


def print_notes(console: Console, model: TrainedModel, found: Predictions) -> None:
    """Print what limits the predictions."""
    if model.data is not None and is_drawn(model.data):
        _note(console, "the network was trained on drawn cells: its predictions say nothing about real cells")
    if found.unlike is None:
        _note(
            console,
            "what the training images look like is not known, so no image is marked as unlike them",
        )
    elif found.unlike.any():
        _note(
            console,
            f"{found.unlike.sum()} of {len(found.names)} images ({found.unlike.mean():.1%}) do not look like the "
            f"training images, and their classes are not to be relied on; of the training's own laboratory about "
            f"{BEYOND:.0%} do not",
        )


def _note(console: Console, text: str) -> None:
    console.print(f"[yellow]note[/yellow]  {escape(text)}")
