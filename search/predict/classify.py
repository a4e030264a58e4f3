"""Images classified by a study's network, whose code runs only if the user agrees."""

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm

from search.common.console import make_console, reading_progress
from search.common.errors import InputError
from search.data.loading import decode_listing
from search.predict.images import Asked
from search.predict.predictions import Predictions
from search.training.rebuild import UntrustedCodeError
from search.training.trainedmodel import TrainedModel, load_model


def load(folder: Path, *, trusted: bool) -> TrainedModel:
    """The study's network; code that defines it runs only if the user agrees."""
    try:
        return load_model(folder, trusted=trusted)
    except UntrustedCodeError as error:
        if not sys.stdin.isatty() or not Confirm.ask(f"{escape(str(error))}. Run it?", default=False):
            raise InputError(f"{error}; read it, and give --trust to run it") from None
    return load_model(folder, trusted=True)


def classify(console: Console, model: TrainedModel, asked: Asked, *, skip_bad: bool) -> Predictions:
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
