"""A study as an object: its answer, its tables, and the network that it trained."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from search.analysis.verdict import Verdict, verdict
from search.analysis.words import signed
from search.api.classify import Images, classify
from search.records.description import Description
from search.records.mirror.home import local_copy
from search.records.results import Results, read_results
from search.report.format import metric_name, missing
from search.report.leaderboard import leaderboard
from search.training.rebuild import UntrustedCodeError
from search.training.trainedmodel import TrainedModel, load_model

if TYPE_CHECKING:  # a study is opened without torch
    from torch import nn

# No colours of its own: a notebook may be light or dark.
NOTE = "opacity: 0.75; margin: 0.2em 0; max-width: 60em"


@dataclass(frozen=True, repr=False)
class Study:
    """A study's folder as it was when it was opened, finished or not.

    The tables are those of `results/README.md`, with all of their columns; they have no rows where the study has
    not come that far. Scores and differences are fractions.

    Attributes:
        results: the reader behind all of this, with further views of the tables.
    """

    results: Results

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.results.path

    @property
    def trials(self) -> pd.DataFrame:
        """Trials of the search that ended."""
        return self.results.trials

    @property
    def epochs(self) -> pd.DataFrame:
        """Epochs of all trainings."""
        return self.results.every_row("epochs")

    @property
    def folds(self) -> pd.DataFrame:
        """Finished trainings."""
        return self.results.folds

    @property
    def predictions(self) -> pd.DataFrame:
        """Class and probabilities that every training gave every image it was scored on."""
        return self.results.every_row("predictions")

    @property
    def comparison(self) -> pd.DataFrame:
        """Levels at their settings and over all of them, and the paper's networks."""
        return self.results.comparison

    @property
    def effects(self) -> pd.DataFrame:
        """Contrasts of the comparison and the transfer, with intervals and outcomes."""
        return self.results.effects

    @property
    def transfer(self) -> pd.DataFrame:
        """Networks trained on the target, one row for each way."""
        return self.results.transfer

    @property
    def untouched(self) -> pd.DataFrame:
        """Networks of each level on the target, as the source has trained them."""
        return self.results.untouched

    @property
    def shift(self) -> pd.DataFrame:
        """Networks of each level on further laboratories, as the source has trained them."""
        return self.results.shift

    @property
    def winner(self) -> str | None:
        """The level with the best estimate, whose network is saved; None before levels are compared."""
        return self.results.winner

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the comparison shows; None before levels are compared."""
        return verdict(self.results)

    @property
    def recommendation(self) -> str | None:
        """The verdict in words: what to use, what that may lose, and what limits it; None before there is one."""
        found = self.verdict
        return None if found is None else "\n".join((found.headline, *found.reasons, *found.warnings))

    def leaderboard(self) -> pd.DataFrame:
        """The compared levels, best estimate first, and after them the paper's networks.

        Returns:
            The columns of `search.report.leaderboard.leaderboard`; without rows before levels are compared.
        """
        if self.verdict is None:
            return pd.DataFrame()
        rows = leaderboard(self.results, self.verdict)
        return rows.sort_values("difference_from_best", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def trained(self) -> TrainedModel:
        """The winner's network with its classes and the preparation of its images.

        Raises:
            InputError: there is none, or a file of it is damaged; names the file.
            UntrustedCodeError: Python code that came with the study defines it.
        """
        try:
            return load_model(self.path / "model", trusted=self.results.trusted)
        except UntrustedCodeError as error:
            raise UntrustedCodeError(f"{error}; read it, and open the study with trust=True to run it") from None

    @property
    def model(self) -> "nn.Module":
        """The winner's network on the CPU, in evaluation: normalised images (N, 3, side, side) -> logits.

        It is built anew each time. `trained.prepare` and `trained.normalisation` say what its input is.

        Raises:
            InputError, UntrustedCodeError: as `trained`.
            TypeError: the winner is a classifier of measured features, and no network.
        """
        return self.trained.build().eval()

    def predict(self, images: Images) -> pd.DataFrame:
        """Classify images with the winner's network, on the CPU.

        Args:
            images: a file, a folder, or a sequence of files, of Pillow's images, or of arrays, uint8, (height,
                width, 3). If the network prepares its images, give those of one laboratory.
        Returns:
            A row for each image: image (the path, or the place in the sequence), predicted, unlike_training (None
            where it is not known), and probability_<class> of each class.
        Raises:
            InputError: an image cannot be read, or there is none; or no network, see `trained`.
        """
        return classify(self.trained, images)

    def report(self) -> Path:
        """Draw the figures and the page of what the study holds so far, and return the page's path.

        Raises:
            StudyFailedError: a file cannot be written.
            InputError: a file of the study is damaged.
        """
        from search.report.report import draw_report  # torch and matplotlib

        return draw_report(self.results)[-1]

    def __repr__(self) -> str:
        return f"<Study {self.path}: {self._headline}>"

    def _repr_html_(self) -> str:
        """The verdict and the leaderboard, for a notebook."""
        title = f"<p><code>{escape(str(self.path))}</code><br><b>{escape(self._headline)}</b></p>"
        found = self.verdict
        if found is None:
            return f"<div>{title}</div>"
        notes = "".join(f'<p style="{NOTE}">{escape(line)}</p>' for line in (*found.reasons, *found.warnings))
        table = _in_words(self.leaderboard(), self.results.description).to_html(index=False, border=0)
        return f"<div>{title}{notes}{table}</div>"

    @property
    def _headline(self) -> str:
        if self.verdict is not None:
            return self.verdict.headline
        return f"nothing is compared yet; {len(self.trials)} trials of the search have ended"


def _in_words(rows: pd.DataFrame, description: Description) -> pd.DataFrame:
    """The columns of a leaderboard that fit next to each other, for a reader; differences in points."""
    low, high = _points(rows["difference_low"]), _points(rows["difference_high"])
    return pd.DataFrame(
        {
            "level": rows["level"],
            metric_name(description.metric): rows["estimate"].map("{:.3f}".format),
            "− best, points": _points(rows["difference_from_best"]),
            f"− {description.reference}, points": _points(rows["difference"]),
            "95 %": (low + " to " + high).where(rows["difference_low"].notna(), ""),
            "outcome": rows["outcome"].fillna(""),
            "MMACs": (rows["macs"] / 1e6).map("{:.1f}".format),
        }
    )


def _points(fractions: pd.Series) -> pd.Series:
    return fractions.map(lambda fraction: "" if missing(fraction) else signed(100 * fraction))


def open(folder: str | PathLike[str], *, trust: bool = False) -> Study:
    """Open a study, whether the study is finished or not.

    Each table is read when it is first used. Open the folder again to see what a running study has added.

    Args:
        folder: of the study, or its address; of that, what is there now is copied to this machine first.
        trust: Python code that came with the study may run, if its network is defined by such code.
    Raises:
        InputError: there is no study in it, or its description is damaged; names the file.
    """
    return Study(read_results(local_copy(fspath(folder)), trusted=trust))
