"""A study's folder as values: the only place where the report reads it."""

from collections.abc import Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.common.errors import InputError
from search.records.ledger import read_table
from search.records.studyfolder import StudyFolder
from search.training.trainedmodel import WEIGHTS, TrainedModel, load_model


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a study's folder holds so far.

    Attributes:
        description: content of `study.json`.
        trials, epochs, folds, predictions, comparison, transfer, cells: the tables of these names; without rows
            where a study has not come that far.
        log: parameters that were searched on a logarithmic scale, which the tables do not say.
        model: the winner's network; None where there is none yet, or its weights were not kept.
    """

    path: Path
    description: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    folds: pd.DataFrame
    predictions: pd.DataFrame
    comparison: pd.DataFrame
    transfer: pd.DataFrame
    cells: pd.DataFrame
    log: Set[str]
    model: TrainedModel | None


def read_results(path: Path) -> Results:
    """Read a study's folder, finished or not.

    Raises:
        InputError: no study there, or a table, Optuna's journal or the network cannot be read; names the file.
    """
    folder = StudyFolder.open(path)
    names = [field.name for field in fields(Results) if field.type is pd.DataFrame]
    return Results(
        path=path,
        description=folder.description,
        **{name: read_table(path, name) for name in names},
        log=_log_parameters(folder.optuna_journal),
        model=load_model(folder.model) if (folder.model / WEIGHTS).exists() else None,
    )


def winner(results: Results) -> str | None:
    """The level with the best pooled metric at tuned settings; of equals, the first; None before that is known."""
    if results.comparison.empty:
        return None
    tuned = results.comparison[results.comparison["settings"] == "tuned"]
    metric = results.description["arguments"]["metric"]
    return None if tuned.empty else str(tuned["level"].iloc[int(tuned[metric].argmax())])


def tuned_row(results: Results, level: str) -> pd.Series:
    """A level's row in the comparison, at its best settings."""
    rows = results.comparison
    return rows[(rows["level"] == level) & (rows["settings"] == "tuned")].iloc[0]


def _log_parameters(journal: Path) -> set[str]:
    if not journal.exists():  # Optuna would make the file
        return set()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        trials = [
            trial for study in storage.get_all_studies() for trial in storage.get_all_trials(study._study_id)
        ]
    except Exception as error:  # of Optuna's own, which takes a journal's lines on trust
        raise InputError(f"{journal}: it cannot be read: {type(error).__name__}: {error}") from error
    scales = [item for trial in trials for item in trial.distributions.items()]
    return {name for name, scale in scales if getattr(scale, "log", False)}
