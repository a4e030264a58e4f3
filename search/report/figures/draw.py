"""All figures of a study, as files."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from search.analysis.verdict import Verdict
from search.data.decode import resize_square
from search.records.results import Results, first_repeat
from search.records.schema import Phase
from search.report.figures.confusion import draw_confusion, draw_reliability
from search.report.figures.curves import draw_curves
from search.report.figures.effects import draw_effects, draw_other_effects
from search.report.figures.example_images import (
    draw_attention,
    draw_features,
    draw_mistakes,
    draw_segmentation,
    read_examples,
    read_pixels,
)
from search.report.figures.history import draw_history
from search.report.figures.levels import draw_costs, draw_scores
from search.report.figures.parameters import draw_importance, draw_parallel
from search.report.figures.saving import METADATA, save, writing
from search.report.figures.transfer import draw_transfer
from search.report.format import setting_name
from search.space import Preparation
from search.training.featuremaps import class_activation, feature_maps, stages

_OF_COMPARISON = ("effects", "other_effects", "interactions", "scores", "costs")
_OF_WINNER = ("curves", "confusion", "reliability", "mistakes")


def draw_all(results: Results, found: Verdict | None) -> list[Path]:
    """Draw what a study holds so far into `figures/` in its folder, each figure as PNG and SVG.

    Args:
        found: what its comparison shows.
    Returns:
        The files, in the order of the study's phases. A figure without data is left out and its older files are
        removed, but figures of the winner's network stay if its weights were removed.
    Raises:
        StudyFailedError: a file cannot be written.
        InputError: a file of the study is damaged.
    """
    folder, written = results.path / "figures", []
    for name, figure in _figures(results, found):
        if figure is not None:
            written += save(figure, folder, name)
            continue
        for kind in METADATA:
            _remove(folder / f"{name}.{kind}")
    return written


def _figures(results: Results, found: Verdict | None) -> Iterator[tuple[str, Figure | None]]:
    description, trials = results.description, results.trials
    metric, factor = description.metric, description.factor
    yield "history", draw_history(trials, metric)
    yield "importance", draw_importance(trials, factor, results.log_parameters)
    yield "parameters", draw_parallel(trials, factor, results.log_parameters, metric)

    yield "differences", None  # an earlier figure
    if found is None:
        yield from dict.fromkeys((*_OF_COMPARISON, *_OF_WINNER)).items()
    else:
        yield from _of_comparison(results, found)
        yield from _of_winner(results, found.winner)
    yield "transfer", draw_transfer(pd.concat([results.transfer, results.untouched]))
    yield "segmentation", _segmentation(results)
    yield from _of_network(results)


def _of_comparison(results: Results, found: Verdict) -> Iterator[tuple[str, Figure | None]]:
    description, levels, rows = results.description, results.levels, results.at_settings
    margin = description.arguments.margin / 100
    names = {int(n): setting_name(description, n) for n in sorted(rows["setting"].unique())}
    yield "effects", draw_effects(found.main, found.by_setting, margin, names)
    yield "other_effects", draw_other_effects(found.others, margin)
    yield "interactions", draw_effects(found.interactions, (), margin, {})
    at_settings = {name: rows[rows["setting"] == n] for n, name in names.items()}
    label = "over all settings"
    if description.is_older:
        label = f"at {setting_name(description, 0)}"
        at_settings.pop(setting_name(description, 0), None)
    yield "scores", draw_scores(levels, at_settings if len(names) > 1 else {}, results.paper, label)
    yield "costs", draw_costs(levels, results.paper, description.metric)


def _of_winner(results: Results, winner: str) -> Iterator[tuple[str, Figure | None]]:
    """Figures of the winner in the comparison, at its setting."""
    epochs, predictions, cells = (results.of_winner(table) for table in ("epochs", "predictions", "cells"))
    once = first_repeat(predictions)
    yield "curves", draw_curves(epochs, winner)
    yield "confusion", draw_confusion(predictions, winner)
    yield "reliability", draw_reliability(once, winner)
    mistakes = read_examples(cells, predictions)
    yield "mistakes", draw_mistakes(mistakes, int((once["label"] != once["predicted"]).sum()))


def _segmentation(results: Results) -> Figure | None:
    """What classifiers of measured features find in the example images."""
    cells = results.tables["cells"].drop_duplicates("image")
    images = [read_pixels(png) for png in cells["png"]]
    drawn = {
        level: [config.drawn(image) for image in _resized(images, config.input_px)]
        for level, config in results.estimators().items()
    }
    return draw_segmentation(drawn)


def _of_network(results: Results) -> Iterator[tuple[str, Figure | None]]:
    """Figures of the winner's network, on images of the test set; none where its weights are missing."""
    if results.model is None:
        return
    if not results.model.is_network or not stages(results.model.build()):
        yield from dict.fromkeys(("features", "attention")).items()
        return
    cells = results.tables["cells"]
    examples = read_examples(cells[cells["phase"] == Phase.TEST], results.tested())
    inputs = _resized([example.pixels for example in examples], results.model.config.input_px)
    if results.model.preparation != Preparation():  # the network sees, and the figures show, prepared images
        inputs = results.model.prepare(inputs)
        examples = [replace(example, pixels=image) for example, image in zip(examples, inputs, strict=True)]
    is_correct = np.array([example.is_correct for example in examples], dtype=bool)
    correct = [example for example in examples if example.is_correct]
    yield "features", draw_features(correct, feature_maps(results.model, inputs[is_correct]))
    yield "attention", draw_attention(examples, class_activation(results.model, inputs))


def _resized(images: Sequence[NDArray[np.uint8]], side_px: int) -> NDArray[np.uint8]:
    squares = [resize_square(image, side_px) for image in images]
    return np.stack(squares) if squares else np.empty((0, side_px, side_px, 3), np.uint8)


def _remove(file: Path) -> None:
    with writing(file), suppress(NotADirectoryError):  # then there is no such file
        file.unlink(missing_ok=True)
