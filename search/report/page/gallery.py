"""The winner's mistakes as images of the page, each with its classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from search.records.results import Results, first_repeat
from search.report.figures.example_images import read_examples
from search.report.page.figurefiles import data_uri, jpeg


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An image that the winner misclassifies; probabilities as text."""

    image: str
    uri: str
    label: str
    predicted: str
    p_label: str
    p_predicted: str


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The mistakes whose images the study keeps, most confident first, of so many."""

    mistakes: Sequence[Mistake]
    n_mistakes: int


def gallery(results: Results) -> Gallery | None:
    """Gather the images that the winner misclassifies in the comparison; None where the study keeps none."""
    cells, predictions = results.of_winner("cells"), results.of_winner("predictions")
    examples = [example for example in read_examples(cells, predictions) if not example.is_correct]
    if not examples:
        return None
    once = first_repeat(predictions)
    mistakes = [
        Mistake(
            image=example.image,
            uri=data_uri(jpeg(Image.fromarray(example.pixels)), ".jpg"),
            label=example.label,
            predicted=example.predicted,
            p_label=f"{100 * example.p_label:.0f} %",
            p_predicted=f"{100 * example.p_predicted:.0f} %",
        )
        for example in examples
    ]
    return Gallery(mistakes=mistakes, n_mistakes=int((once["label"] != once["predicted"]).sum()))
