"""Savings and costs of racing, in replays of a recorded grid of configurations trained in full.

    python -m benchmarks.racing
    python -m benchmarks.racing --extract STUDY_FOLDER

The second command makes a new recording from a study of `benchmarks/grid_space.py`. Epochs are a share of those
of the whole grid. Regret is the value of the best configuration minus that of the one chosen, in points of
five-fold balanced accuracy. Either each placement is searched separately and regret is the mean over
placements, or the whole grid is one search.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import optuna
import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from benchmarks.replay import (
    PARAMS_PREFIX,
    Recorded,
    Replay,
    as_one_level,
    by_level,
    load,
    mean_regret,
    n_epochs,
    replay,
    round_the_levels,
)
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.records.arguments import Pruner
from search.tuning.samplers import make_sampler

RECORDING = Path(__file__).parent / "recorded" / "pbc2172_grid.parquet"
PRUNERS: tuple[Pruner, ...] = ("none", "race", "asha")
RACED: tuple[Pruner, ...] = ("none", "race")
SHARES = (0.1, 0.2, 0.35, 0.5, 1.0)
REPEATED_ASKS = 30

app = make_app("benchmarks.racing")


@app.default
def main(
    extract: Annotated[Path | None, Parameter(help="Make a new recording from this study's folder.")] = None,
    recording: Annotated[Path, Parameter(help="Recording, a Parquet file.")] = RECORDING,
    orders: Annotated[int, Parameter(validator=Number(gte=2), help="Number of random orders to replay.")] = 200,
    seeds: Annotated[int, Parameter(validator=Number(gte=2), help="Number of searches by each sampler.")] = 100,
) -> None:
    """Replay a recorded grid: epochs and regret of every pruner, and of samplers with and without racing."""
    console = make_console()
    if extract is not None:
        recording.parent.mkdir(exist_ok=True)
        extract_recording(extract).to_parquet(recording, compression="zstd", index=False)
        console.print(f"{recording}: {recording.stat().st_size / 1000:.0f} kB", soft_wrap=True)
        return
    if not recording.is_file():
        raise InputError(f"{recording}: no such recording; make one with --extract STUDY_FOLDER")
    trials = load(recording)
    ways = {"each level": trials, "one search": as_one_level(trials)}
    print_pruners(console, ways, orders)
    print_samplers(console, ways, seeds)


def extract_recording(study: Path) -> pd.DataFrame:
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


def print_pruners(console: Console, ways: dict[str, list[Recorded]], orders: int) -> None:
    """Print the epochs and the regret of every pruner, in random orders."""
    table = Table(title=f"Pruners, {orders} random orders (mean ± half its 95 % interval)", title_justify="left")
    table.add_column("search")
    table.add_column("pruner")
    for column in ("epochs, %", "regret, points", "worst regret"):
        table.add_column(column, justify="right")
    for way, trials in ways.items():
        for pruner in PRUNERS:
            done = [replay(in_random_order(trials, seed), pruner) for seed in range(orders)]
            shares = [100 * search.epochs / n_epochs(trials) for search in done]
            regrets = [100 * mean_regret(trials, search.best) for search in done]
            table.add_row(way, pruner, _mean(shares, 1), _mean(regrets, 2), f"{max(regrets):.2f}")
    console.print(table)


def in_random_order(trials: Sequence[Recorded], seed: int) -> list[Recorded]:
    """Trials in a random order within each level, the levels taking turns."""
    return round_the_levels(random.Random(seed).sample(trials, len(trials)))


@dataclass(frozen=True)
class Found:
    """State of a search after a number of epochs: level to the best value of its complete trials."""

    epochs: int
    best: dict[str, float]


def print_samplers(console: Console, ways: dict[str, list[Recorded]], seeds: int) -> None:
    """Print the regret of samplers by epochs spent, with and without racing."""
    table = Table(
        title=f"Samplers, {seeds} searches each: regret in points after a share of the epochs",
        title_justify="left",
    )
    for column in ("search", "sampler", "pruner"):
        table.add_column(column)
    for share in SHARES:
        table.add_column(f"{share:.0%}", justify="right")
    table.add_column("epochs, %", justify="right")
    for way, trials in ways.items():
        for sampler in ("random", "tpe"):
            for pruner in RACED:
                searches = [sampled_search(trials, sampler, pruner, seed) for seed in range(seeds)]
                regrets = [_mean([regret_at(trials, found, share) for found in searches], 2) for share in SHARES]
                spent = [100 * found[-1].epochs / n_epochs(trials) for found in searches]
                table.add_row(way, sampler, pruner, *regrets, _mean(spent, 1))
    console.print(table)


def sampled_search(trials: Sequence[Recorded], sampler: str, pruner: Pruner, seed: int) -> list[Found]:
    """Search the grid with a sampler, the levels taking turns, until it proposes nothing new.

    A point that was tried before costs no epochs; after REPEATED_ASKS such points in a row the search of a
    level ends.
    """
    search = Replay(pruner)
    open_levels = {
        name: _LevelSearch(name, of_level, sampler, seed) for name, of_level in by_level(trials).items()
    }
    found = []
    while open_levels:
        for name, level in list(open_levels.items()):
            if not level.step(search):
                del open_levels[name]
            found.append(Found(search.epochs, dict(search.best)))
    return found


class _LevelSearch:
    """Search of one level by a sampler."""

    def __init__(self, name: str, trials: Sequence[Recorded], sampler: str, seed: int) -> None:
        self._trials = {frozenset(trial.params.items()): trial for trial in trials}
        self._choices: dict[str, list[Any]] = {
            name: sorted({trial.params[name] for trial in trials}) for name in trials[0].params
        }
        self._sampler, self._seed, self._name = sampler, seed, name
        self._startup = min(10, max(2, len(trials) // 2))
        self._told: dict[frozenset[tuple[str, Any]], tuple[int, bool]] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize")

    def step(self, search: Replay) -> bool:
        """Ask until a new point is proposed, and run it; False if there is none."""
        if len(self._told) == len(self._trials):
            return False
        for _ in range(REPEATED_ASKS + 1):
            seed = derive_seed(self._seed, self._name, len(self._study.get_trials(deepcopy=False)))
            self._study.sampler = make_sampler(self._sampler, seed=seed, n_startup=self._startup)
            asked = self._study.ask()
            point = frozenset(
                (name, asked.suggest_categorical(name, choices)) for name, choices in self._choices.items()
            )
            is_new = point not in self._told
            if is_new:
                last = len(self._told) == len(self._trials) - 1
                outcome = search.run(self._trials[point], last=last)
                self._told[point] = outcome.epochs, outcome.complete
            self._tell(asked, self._trials[point], *self._told[point])
            if is_new:
                return True
        return False

    def _tell(self, asked: optuna.Trial, trial: Recorded, epochs: int, complete: bool) -> None:
        shown = [value for fold in trial.values for value in fold][:epochs]
        for epoch, value in enumerate(shown, start=1):
            asked.report(value, step=epoch)
        if complete:
            self._study.tell(asked, trial.value)
        else:
            self._study.tell(asked, state=TrialState.PRUNED)


def regret_at(trials: Sequence[Recorded], found: Sequence[Found], share: float) -> float:
    """Mean regret over levels, in points, after a share of all epochs.

    A level without a complete trial by then counts with its worst trial.
    """
    chosen = {level: min(trial.value for trial in of_level) for level, of_level in by_level(trials).items()}
    for state in found:
        if state.epochs <= share * n_epochs(trials):
            chosen.update(state.best)
    return 100 * mean_regret(trials, chosen)


def _mean(values: Sequence[float], digits: int) -> str:
    """Mean and half-width of its 95 % t interval."""
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.{digits}f}" + (f" ± {half:.{digits}f}" if half > 0 else "")


if __name__ == "__main__":
    run_app(app)
