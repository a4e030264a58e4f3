"""All figures of a study as files; how each is drawn is the business of the other modules here."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from search.common.errors import StudyFailedError
from search.common.files import replace_file
from search.data.decode import resize_square
from search.records.results import Results, winner
from search.report.figures.cells import draw_attention, draw_features, draw_mistakes, pixels, with_predictions
from search.report.figures.confusion import draw_confusion, draw_reliability
from search.report.figures.curves import draw_curves
from search.report.figures.history import draw_history
from search.report.figures.levels import draw_costs, draw_differences, draw_scores
from search.report.figures.parameters import draw_importance, draw_parallel
from search.report.figures.style import STYLE
from search.report.figures.transfer import draw_transfer
from search.training.featuremaps import class_activation, feature_maps
from search.training.trainedmodel import TrainedModel

# What a file says of when it was made is left out: the same study gives the same files.
_METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}


def draw_all(results: Results) -> list[Path]:
    """Draw what a study holds so far into `figures/` in its folder, each figure as PNG and SVG.

    Returns:
        The files, in the order of the study's phases. A figure that the tables hold nothing for is left out, and
        its file of an earlier state of the study is removed.
    Raises:
        StudyFailedError: a file cannot be written.
    """
    folder, written = results.path / "figures", []
    for name, figure in _figures(results):
        _remove(folder / f"{name}.jpg")  # as a published study may have it
        for kind, metadata in _METADATA.items():
            file = folder / f"{name}.{kind}"
            if figure is None:
                _remove(file)
            else:
                _save(figure, file, kind, metadata)
                figure.set_layout_engine("none")  # the next form is arranged as this one
                written.append(file)
    return written


def _figures(results: Results) -> Iterator[tuple[str, Figure | None]]:
    description = results.description
    metric, factor = description["arguments"]["metric"], description["factor"]
    trials, log, comparison = results.trials, results.log, results.comparison
    yield "history", draw_history(trials, metric)
    yield "importance", draw_importance(trials, factor, log)
    yield "parameters", draw_parallel(trials, factor, metric, log)

    yield "scores", draw_scores(comparison)
    yield "differences", draw_differences(comparison, metric, description["reference"])
    yield "costs", draw_costs(comparison, metric)

    level = winner(results)
    yield "curves", draw_curves(results.epochs, level) if level else None
    yield "confusion", draw_confusion(results.predictions, level) if level else None
    yield "reliability", draw_reliability(results.predictions, level) if level else None
    yield "transfer", draw_transfer(results.transfer)
    yield from _figures_of_cells(results, level)


def _figures_of_cells(results: Results, level: str | None) -> Iterator[tuple[str, Figure | None]]:
    """Those that show images; the files of what needs the winner's network stay where the folder lacks it."""
    cells = with_predictions(results.cells[results.cells["level"] == level], results.predictions)
    yield "mistakes", draw_mistakes(cells, _n_mistakes(results.predictions, level))
    if results.model is None:
        return
    tested = cells[cells["phase"] == "test"]
    right = tested[tested["label"] == tested["predicted"]]
    yield "features", draw_features(right, feature_maps(results.model, _inputs(right, results.model)))
    yield "attention", draw_attention(tested, class_activation(results.model, _inputs(tested, results.model)))


def _n_mistakes(predictions: pd.DataFrame, level: str | None) -> int:
    """Of the winner on the comparison's folds, in the repeat that the kept images are of."""
    own = predictions[(predictions["phase"] == "compare") & (predictions["level"] == level)]
    own = own[(own["settings"] == "tuned") & (own["repeat"] == own["repeat"].min())]
    return int((own["label"] != own["predicted"]).sum())


def _inputs(cells: pd.DataFrame, model: TrainedModel) -> NDArray[np.uint8]:
    """Cells as the network takes them, shape (n_cells, input_px, input_px, 3)."""
    side = model.config.input_px
    images = [resize_square(pixels(png), side) for png in cells["png"]]
    return np.stack(images) if images else np.empty((0, side, side, 3), np.uint8)


def _save(figure: Figure, file: Path, kind: str, metadata: dict[str, Any]) -> None:
    with _writing(file.parent):
        file.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        replace_file(file, lambda partial: figure.savefig(partial, format=kind, metadata=metadata))


def _remove(file: Path) -> None:
    with _writing(file), suppress(NotADirectoryError):  # then there is no such file
        file.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyFailedError(f"{path}: {error.strerror}") from error
