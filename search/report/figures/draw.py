"""All figures of a study, from its folder alone: the only module here that reads and writes files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.errors import InputError
from search.report.figures.confusion import draw_confusion, draw_reliability
from search.report.figures.curves import draw_curves
from search.report.figures.history import draw_history
from search.report.figures.levels import draw_costs, draw_differences, draw_scores
from search.report.figures.parameters import draw_importance, draw_parallel
from search.report.figures.style import STYLE
from search.report.figures.transfer import draw_transfer
from search.studyfolder import StudyFolder
from search.tables import read_table, replace_file

# What a file says of when it was made is left out: the same study gives the same files.
_METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}


def draw_all(study_folder: Path) -> list[Path]:
    """Draw what a study's folder holds so far into `figures/`, each figure as PNG and SVG.

    Returns:
        The files, in the order of the study's phases. A figure that the tables hold nothing for is left out, and
        its file of an earlier state of the study is removed.
    Raises:
        InputError: no study there, or a table or Optuna's journal cannot be read.
        StudyFailedError: a file cannot be written.
    """
    folder = StudyFolder.open(study_folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    figures = study_folder / "figures"
    written = []
    for name, figure in _figures(folder):
        for kind, metadata in _METADATA.items():
            file = figures / f"{name}.{kind}"
            if figure is None:
                file.unlink(missing_ok=True)
            else:
                _save(figure, file, kind, metadata)
                written.append(file)
    return written


def _figures(folder: StudyFolder) -> Iterator[tuple[str, Figure | None]]:
    description = folder.description
    metric, factor = description["arguments"]["metric"], description["factor"]
    trials, log = read_table(folder.path, "trials"), _log_parameters(folder.optuna_journal)
    yield "history", draw_history(trials, metric)
    yield "importance", draw_importance(trials, factor, log)
    yield "parameters", draw_parallel(trials, factor, metric, log)

    comparison = read_table(folder.path, "comparison")
    yield "scores", draw_scores(comparison)
    yield "differences", draw_differences(comparison, metric, description["reference"])
    yield "costs", draw_costs(comparison, metric)

    level = _winner(comparison, metric)
    epochs, predictions = read_table(folder.path, "epochs"), read_table(folder.path, "predictions")
    yield "curves", draw_curves(epochs, level) if level else None
    yield "confusion", draw_confusion(predictions, level) if level else None
    yield "reliability", draw_reliability(predictions, level) if level else None
    yield "transfer", draw_transfer(read_table(folder.path, "transfer"))


def _winner(comparison: pd.DataFrame, metric: str) -> str | None:
    """The level with the best pooled metric at tuned settings; of equals, the first."""
    if comparison.empty:
        return None
    tuned = comparison[comparison["settings"] == "tuned"]
    return None if tuned.empty else str(tuned["level"].iloc[int(tuned[metric].argmax())])


def _log_parameters(journal: Path) -> set[str]:
    """The parameters that were searched on a logarithmic scale, which the tables do not say."""
    if not journal.exists():  # Optuna would make the file
        return set()
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        trials = [
            trial for study in storage.get_all_studies() for trial in storage.get_all_trials(study._study_id)
        ]
    except (OSError, ValueError) as error:
        raise InputError(f"{journal}: it cannot be read: {error}") from error
    scales = [item for trial in trials for item in trial.distributions.items()]
    return {name for name, scale in scales if getattr(scale, "log", False)}


def _save(figure: Figure, file: Path, kind: str, metadata: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        replace_file(file, lambda partial: figure.savefig(partial, format=kind, metadata=metadata))
