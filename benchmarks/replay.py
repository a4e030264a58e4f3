"""A recorded grid, and replays of searches on it: what would have been trained and chosen.

Every configuration of the grid was trained in full, so any searcher can be replayed on it. Replays train one
configuration at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.common.errors import InputError
from search.space import Params
from search.tuning.racing import Block, Curve, Race, Rivals

RECORDING = Path(__file__).parent / "recorded" / "pbc2172_grid.parquet"
PARAMS_PREFIX = "params_"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Configurations trained in full.

    Attributes:
        params: of each setting.
        values: the searched metric after each epoch, shape (levels, settings, folds, epochs).
        pooled: the metric pooled over all folds, shape (levels, settings).
    """

    levels: tuple[str, ...]
    params: tuple[Params, ...]
    values: Values
    pooled: Values

    @property
    def final(self) -> Values:
        """The metric at the end of each training, shape (levels, settings, folds)."""
        return self.values[..., -1]


@cache
def load(path: Path = RECORDING) -> Grid:
    """Read a recording, see `record`.

    Raises:
        InputError: no such file, or levels with different settings; names it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such recording; make one with --extract STUDY_FOLDER")
    frame = pd.read_parquet(path)
    names = [name for name in frame.columns if name.startswith(PARAMS_PREFIX)]
    levels = tuple(frame["level"].unique())
    frame = frame.sort_values([*names, "fold", "epoch"], kind="stable")
    shape = (len(frame[names].drop_duplicates()), frame["fold"].nunique(), frame["epoch"].nunique())
    if len(frame) != len(levels) * np.prod(shape):
        raise InputError(f"{path}: is no grid of {len(levels)} levels at the same settings")
    by_level = [frame[frame["level"] == level] for level in levels]
    settings = by_level[0][names].drop_duplicates().to_dict("records")
    return Grid(
        levels=levels,
        params=tuple({k.removeprefix(PARAMS_PREFIX): v for k, v in setting.items()} for setting in settings),
        values=np.array([rows["val_balanced_accuracy"].to_numpy(float).reshape(shape) for rows in by_level]),
        pooled=np.array([rows["value"].to_numpy(float).reshape(shape)[:, 0, 0] for rows in by_level]),
    )


def record(study: Path) -> pd.DataFrame:
    """One row per epoch of a study's complete trials: level, parameters, fold, epoch, its value and the trial's.

    Raises:
        InputError: the folder has no complete trial.
    """
    try:
        trials, epochs = (pd.read_parquet(study / f"{name}.parquet") for name in ("trials", "epochs"))
    except OSError as error:
        raise InputError(f"{study}: {error}") from error
    trials = trials[trials["state"] == "COMPLETE"]
    if trials.empty:
        raise InputError(f"{study}: no complete trial to record")
    params = [name for name in trials.columns if name.startswith(PARAMS_PREFIX)]
    rows = epochs[epochs["phase"] == "search"].merge(trials[["number", "value", *params]], on="number")
    rows = rows.sort_values(["number", "fold", "epoch"])[
        ["level", *params, "fold", "epoch", "val_balanced_accuracy", "value"]
    ]
    small = {"fold": "int8", "epoch": "int16", "val_balanced_accuracy": "float32", "value": "float32"}
    return rows.astype(small)


@dataclass(frozen=True)
class Question:
    """Candidates to choose from, and the blocks on which they can be scored.

    Attributes:
        params: of each candidate.
        values: shape (candidates, blocks, epochs), the blocks in the order of training.
        truth: what a choice is judged by: the value of each candidate over all folds.
        n_levels: that the blocks are of.
        n_epochs: of the whole grid.
    """

    params: tuple[Params, ...]
    values: Values
    truth: Values
    n_levels: int
    n_epochs: int


def best_setting(grid: Grid, n_folds: int, rng: np.random.Generator) -> Question:
    """Which setting is best on average over the levels?

    Its blocks are levels and some of the folds, in random order; levels take turns with the folds.
    """
    n_levels, folds = len(grid.levels), rng.permutation(grid.values.shape[2])
    order = [
        (level, folds[(level + nth) % len(folds)]) for nth in range(n_folds) for level in rng.permutation(n_levels)
    ]
    values = np.stack([grid.values[level, :, fold] for level, fold in order], axis=1)
    return Question(grid.params, values, grid.pooled.mean(axis=0), n_levels, grid.values.size)


def best_configuration(grid: Grid, rng: np.random.Generator) -> Question:
    """Which level at which setting is best? Its blocks are the folds, in random order."""
    n_levels, n_settings, n_folds, n_epochs = grid.values.shape
    params = tuple({**setting, "level": level} for level in grid.levels for setting in grid.params)
    values = grid.values[:, :, rng.permutation(n_folds)].reshape(n_levels * n_settings, n_folds, n_epochs)
    return Question(params, values, grid.pooled.ravel(), 1, grid.values.size)


@dataclass
class Replay:
    """What a searcher has trained so far, and what it would choose.

    Attributes:
        known: blocks that were trained to the end, by candidate: these cost nothing the second time.
        trace: epochs and the choice from then on.
    """

    question: Question
    epochs: int = 0
    known: set[tuple[int, int]] = field(default_factory=set)
    trace: list[tuple[int, int]] = field(default_factory=list)

    def train(self, candidate: int, block: int) -> float:
        """Train a block to the end."""
        if (candidate, block) not in self.known:
            self.epochs += self.question.values.shape[2]
            self.known.add((candidate, block))
        return float(self.question.values[candidate, block, -1])

    def choose(self, candidate: int) -> None:
        """Choose a candidate from now on."""
        if not self.trace or self.trace[-1][1] != candidate:
            self.trace.append((self.epochs, candidate))


class RaceReplay:
    """A race of candidates, one after another, by the rules of the search itself."""

    def __init__(self, replay: Replay, race: Race) -> None:
        self._replay, self._race = replay, race
        self._raced: dict[int, Curve] = {}

    @property
    def whole(self) -> list[int]:
        """Candidates that were not stopped, best first."""
        means = {candidate: np.mean(curve.finals) for candidate, curve in self._raced.items() if curve.whole}
        return sorted(means, key=lambda candidate: -means[candidate])

    def run(self, candidate: int, report: Callable[[int, float], None] = lambda n, mean: None) -> bool:
        """Train a candidate until it is stopped; True if it never is.

        Args:
            report: called with the number of blocks and the mean over them, after each.
        """
        values, rivals = self._replay.question.values[candidate], Rivals(self._raced.values())
        if not self._raced:
            self._replay.choose(candidate)
        whole = Curve(blocks=_blocks(values), whole=True)
        stopped = self._race.stopped(whole, rivals)
        curve = self._raced[candidate] = stopped or whole
        self._replay.epochs += curve.n_points
        for n in range(1, len(curve.finals) + 1):
            report(n, float(np.mean(curve.finals[:n])))
        if self.whole:
            self._replay.choose(self.whole[0])
        return stopped is None


def _blocks(values: Values) -> Sequence[Block]:
    return [Block(values=[float(value) for value in row], n_epochs=len(row), finished=True) for row in values]
