"""The command that classifies images with a study's winner: `python -m search.predict`."""

import sys
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm

from search.common.commandline import make_app, run_app
from search.common.console import make_console, reading_progress
from search.common.errors import InputError
from search.data.loading import decode_listing
from search.data.names import is_drawn
from search.data.reading import Reading, parse_class_names
from search.predict.images import Asked, given_images, labelled_images
from search.predict.output import check_format, write
from search.predict.predictions import Predictions
from search.predict.scores import confusion, scores
from search.predict.terminal import confusion_table, counts_table, predictions_table, scores_table
from search.training.rebuild import UntrustedCodeError
from search.training.trainedmodel import TrainedModel, load_model
from search.training.typical import BEYOND

app = make_app("search.predict")


@app.default
def main(
    study: Path,
    images: list[Path] | None = None,
    /,
    *,
    output: Path | None = None,
    sort: Literal["given", "doubt"] = "given",
    labels: Path | None = None,
    layout: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: str | None = None,
    skip_bad: bool = False,
    trust: bool = False,
) -> None:
    """Print or write the predicted class of every image, and the probability of each class.

    Args:
        study: Folder of a study.
        images: Image files, or folders of them; none where --labels is a folder.
        output: File to write, .csv, .parquet, .jsonl or .ndjson; by default a table is printed.
        sort: Order of the images: as given, or by doubt, the least certain first.
        labels: True classes to score against: a folder with a folder per class, or of another layout that a study
            takes, or a table that names the images, such as labels.csv.
        layout: What each level of the folder in --labels is, such as split/class; by default found.
        image_column: Column of the table that names the images.
        label_column: Column of the table that holds the labels.
        class_names: Class names by label, such as 1=neutrophil,2=lymphocyte.
        skip_bad: Leave out images that cannot be read, and name them.
        trust: Run the Python file in the study's folder that defines its network, without asking.
    """
    if output is not None:
        check_format(output)
    console = make_console()
    model = _load(study / "model", trusted=trust)
    if labels is None:
        asked = given_images(images or [])
    else:
        names = None if class_names is None else parse_class_names(class_names)
        reading = Reading(layout=layout, image_column=image_column, label_column=label_column, class_names=names)
        asked = labelled_images(labels, images or [], reading, model.classes)
    found = _predicted(console, model, asked, skip_bad=skip_bad)
    if sort == "doubt":
        found = found.only(np.argsort(found.probabilities.max(1), kind="stable"))
    if output is not None:
        write(output, found)
        console.print(f"{len(found.names)} images  {escape(str(output))}", soft_wrap=True)
    else:
        console.print(predictions_table(found, console.width))
    console.print(counts_table(found))
    if found.labels is not None:
        _print_scores(console, found)
    _print_notes(console, model, found)


def _load(folder: Path, *, trusted: bool) -> TrainedModel:
    """The study's network; code that defines it runs only if the user agrees."""
    try:
        return load_model(folder, trusted=trusted)
    except UntrustedCodeError as error:
        if not sys.stdin.isatty() or not Confirm.ask(f"{escape(str(error))}. Run it?", default=False):
            raise InputError(f"{error}; read it, and give --trust to run it") from None
    return load_model(folder, trusted=True)


def _predicted(console: Console, model: TrainedModel, asked: Asked, *, skip_bad: bool) -> Predictions:
    """Read the images as a study does, and classify them."""
    side_px = model.config.input_px
    with reading_progress(console, len(asked.names)) as on_read:
        images = decode_listing(Path(), asked.listing(), [side_px], skip_bad=skip_bad, on_read=on_read)
    errors = make_console(stderr=True)
    for note in images.notes:
        if note.startswith("left out"):  # others are about splits
            errors.print(escape(note), soft_wrap=True)
    if not images.names:
        raise InputError("none of the images can be read")
    probabilities, unlike = model.judge(images.pixels[side_px])
    return Predictions(
        names=images.names,
        classes=model.classes,
        probabilities=probabilities,
        unlike=unlike,
        labels=None if asked.labels is None else tuple(asked.labels.get(name) for name in images.names),
        groups=None if asked.groups is None else tuple(asked.groups.get(name) for name in images.names),
    )


def _print_scores(console: Console, found: Predictions) -> None:
    labelled = found.labelled()
    if not labelled.names:
        raise InputError("none of the images that can be read has a label")
    console.print(scores_table(scores(labelled), len(labelled.names)))
    console.print(confusion_table(confusion(labelled), found.classes, console.width))
    if without := len(found.names) - len(labelled.names):
        _note(console, f"{without} of {len(found.names)} images have no label and are not scored")


def _print_notes(console: Console, model: TrainedModel, found: Predictions) -> None:
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


if __name__ == "__main__":
    run_app(app)
