"""The one reader of a study's folder, for the terminal, the page, the figures and comparisons of studies."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from search.common.errors import InputError
from search.records.description import Description, parse_description
from search.records.schema import GROWING, Phase
from search.records.studyfolder import StudyFolder
from search.records.tables import read_table
from search.space import PAPER_LEVELS
from search.training.rebuild import UntrustedCodeError, from_json
from search.training.trainedmodel import WEIGHTS, TrainedModel, load_model
from wbcmodels.network import EstimatorConfig


class _TablesOnDisk(dict[str, pd.DataFrame]):
    """The tables of a folder, each read when it is first asked for; of those that grow, not the search's rows."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, name: str) -> pd.DataFrame:
        self[name] = read_table(self._folder, name, without=Phase.SEARCH if name in GROWING else None)
        return self[name]


@dataclass(frozen=True)
class Results:
    """What a study's folder holds so far.

    Attributes:
        path: of the folder.
        tables: table name -> frame with all columns of `search.records.schema.TABLES`; no rows where the study has
            not come that far, and null columns where it was written before there were such columns. `epochs` and
            `predictions` are without the search, whose rows can be millions: `every_row` has them.
        trusted: code that came with the study may run, to build its network.
    """

    path: Path
    description: Description
    tables: Mapping[str, pd.DataFrame]
    trusted: bool = False

    def every_row(self, table: str) -> pd.DataFrame:
        """A table with the rows of the search."""
        return read_table(self.path, table)

    @property
    def trials(self) -> pd.DataFrame:
        """Trials of the search that ended."""
        return self.tables["trials"]

    @property
    def folds(self) -> pd.DataFrame:
        """Finished trainings."""
        return self.tables["folds"]

    @property
    def comparison(self) -> pd.DataFrame:
        """Levels at their settings, and the paper's networks."""
        return self.tables["comparison"]

    @property
    def transfer(self) -> pd.DataFrame:
        """Networks on the target, each way in which they are trained there."""
        rows = self.tables["transfer"]
        return rows[rows["phase"] == Phase.TRANSFER]

    @property
    def untouched(self) -> pd.DataFrame:
        """Networks on the target as they are: one row for all networks of each level in the comparison."""
        return self._untouched(compared=True)

    @property
    def shift(self) -> pd.DataFrame:
        """Networks of each level in the comparison on further laboratories, as they are."""
        return self.tables["shift"]

    @property
    def saved_untouched(self) -> pd.DataFrame:
        """The saved network on the target as it is, one row a way; without rows where it is not the winner's."""
        rows, row = self._untouched(compared=False), self.winner_row
        return rows[(rows["level"] == row["level"]) & (rows["setting"] == row["setting"])]

    def _untouched(self, *, compared: bool) -> pd.DataFrame:
        rows = self.tables["transfer"]
        return rows[(rows["phase"] == Phase.UNTOUCHED) & (rows["setting"].isna() == compared)]

    @property
    def effects(self) -> pd.DataFrame:
        """Contrasts of the comparison and the transfer; without rows in older studies."""
        return self.tables["effects"]

    @property
    def levels(self) -> pd.DataFrame:
        """The comparison's rows of the levels, one each: over all settings; in older studies, at their own."""
        rows = self.comparison[self.comparison["level"].isin(self.description.levels)]
        return rows[rows["setting"] == 0] if self.description.is_older else rows[rows["setting"].isna()]

    @property
    def at_settings(self) -> pd.DataFrame:
        """The comparison's rows of the factor's levels, one for each setting."""
        rows = self.comparison[self.comparison["level"].isin(self.description.levels)]
        return rows[rows["setting"].notna()]

    @property
    def paper(self) -> pd.DataFrame:
        """The comparison's rows of the paper's networks."""
        return self.comparison[self.comparison["level"].isin(PAPER_LEVELS)]

    @property
    def winner(self) -> str | None:
        """The level that came out best, see `best_configuration`; None before the comparison is made."""
        best = best_configuration(self.comparison, self.description.metric)
        return None if best is None else str(best["level"])

    @property
    def winner_row(self) -> pd.Series:
        """The comparison's row of the winner at its setting.

        Raises:
            LookupError: nothing is compared yet.
        """
        best = best_configuration(self.comparison, self.description.metric)
        if best is None:
            raise LookupError(f"{self.path}: nothing is compared yet")
        return best

    def compared(self, table: str, level: str, setting: float | None = None) -> pd.DataFrame:
        """The rows of `epochs`, `folds` or `predictions` of a level's trainings in the comparison.

        Args:
            setting: number of the setting; None gives all settings. The paper's networks have their own.
        """
        rows = _of_phase(self.tables[table], Phase.COMPARE, level)
        if setting is None or pd.isna(setting) or level in PAPER_LEVELS:
            return rows
        own = rows[rows["setting"] == setting]
        if own.empty and self.description.is_older:
            # A level whose own best settings were the shared ones was trained once.
            return rows[rows["setting"] == 0].assign(setting=int(setting))
        return own

    def of_winner(self, table: str) -> pd.DataFrame:
        """The rows of `epochs`, `folds` or `predictions` of the winner's trainings at its setting."""
        row = self.winner_row
        return self.compared(table, str(row["level"]), row["setting"])

    def tested(self) -> pd.DataFrame:
        """The predictions of the winner on the locked test set.

        Without rows unless level and parameters are those that were scored there: the winner of a study that is
        extended can change.
        """
        rows = _of_phase(self.tables["predictions"], Phase.TEST, self.winner)
        scored = self.description.winner
        if scored is None or rows.empty:
            return rows.iloc[:0]
        own = {
            "level": self.winner,
            "setting": self.winner_row["setting"],
            **self.winner_row.filter(like="params_").rename(lambda n: n[len("params_") :]),
        }
        return rows if all(own.get(name) == value for name, value in scored.items()) else rows.iloc[:0]

    @cached_property
    def log_parameters(self) -> frozenset[str]:
        """Parameters that were searched on a logarithmic scale, which Optuna's journal alone records.

        Raises:
            InputError: the journal is damaged.
        """
        return _log_parameters(StudyFolder(self.path, {}).optuna_journal)

    @cached_property
    def model(self) -> TrainedModel | None:
        """The winner's network; None where there is none, its weights were removed, or its code is not trusted.

        Raises:
            InputError: a file of it is damaged.
        """
        folder = StudyFolder(self.path, {}).model
        if not (folder / WEIGHTS).exists():
            return None
        try:
            return load_model(folder, trusted=self.trusted)
        except UntrustedCodeError:
            return None

    def estimators(self) -> dict[str, EstimatorConfig]:
        """The classifiers of measured features that were compared, by level; those whose code is trusted.

        Raises:
            InputError: `study.json` describes one wrongly.
        """
        found, file = {}, self.path / "study.json"
        for level, description in self.description.estimators.items():
            try:
                config = from_json(description, self.path / "model", trusted=self.trusted)
            except UntrustedCodeError:
                continue
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f"{file}: estimators: {level}: {type(error).__name__}: {error}") from error
            if not isinstance(config, EstimatorConfig):
                raise InputError(f"{file}: estimators: {level}: not a classifier of measured features")
            found[level] = config
        return found


def read_results(path: Path, *, trusted: bool = False) -> Results:
    """Open a study's folder, finished or not; a table is read when it is first used.

    Args:
        trusted: code that came with the study may run, to build its network.

    Raises:
        InputError: no study in the folder, or its description is damaged; names the file.
    """
    folder = StudyFolder.open(path)
    description = parse_description(folder.description, folder.description_file)
    return Results(path, description, _TablesOnDisk(path), trusted)


def best_configuration(comparison: pd.DataFrame, metric: str) -> pd.Series | None:
    """The row of the level and setting with the best estimate; of equals, the first.

    In older studies, that of the level with the best pooled metric at its own best settings.

    Returns:
        None where no level is compared.
    """
    rows, column = comparison[comparison["estimate_shrunken"].notna()], "estimate_shrunken"
    if rows.empty:
        rows, column = comparison[comparison["setting"] == 0], metric
    return None if rows.empty else rows.iloc[int(rows[column].argmax())]


def first_repeat(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first partition into folds, in which every image is scored once."""
    return rows[rows["repeat"] == rows["repeat"].min()]


def _of_phase(rows: pd.DataFrame, phase: Phase, level: str | None) -> pd.DataFrame:
    return rows[(rows["phase"] == phase) & (rows["level"] == level)]


def _log_parameters(journal: Path) -> frozenset[str]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if not journal.exists():  # Optuna would create it
        return frozenset()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        studies = [storage.get_all_trials(study._study_id) for study in storage.get_all_studies()]
    except Exception as error:  # Optuna trusts a journal's lines, so a damaged one can raise anything
        raise InputError(f"{journal}: cannot be read: {type(error).__name__}: {error}") from error
    scales = [item for trials in studies for trial in trials for item in trial.distributions.items()]
    return frozenset(name for name, scale in scales if getattr(scale, "log", False))
