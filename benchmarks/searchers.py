"""The search against Optuna's pruners, SMAC3's intensifier and random search, in replays of a recorded grid.

    pip install -e '.[benchmarks]' && python -m benchmarks.searchers
    python -m benchmarks.searchers --extract STUDY_FOLDER

The second command makes a new recording from a study of `benchmarks/grid_space.py`. All searchers answer the same
questions. "Best setting": which of the settings is best on average over the levels? A candidate is a setting, its
blocks or instances are levels and folds, and regret is the mean over levels, on all folds, of the best setting
minus that of the chosen one. "Best configuration": which level at which setting? A candidate is a configuration,
its blocks are the folds. Epochs are a share of those of the whole grid. All searchers see the same order of
blocks, and those that search at random the same order of candidates.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
from cyclopts import Parameter
from cyclopts.validators import Number
from numpy.typing import NDArray
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from benchmarks.replay import (
    RECORDING,
    Grid,
    Question,
    RaceReplay,
    Replay,
    best_configuration,
    best_setting,
    load,
    record,
)
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.seeds import derive_seed
from search.records.arguments import Pruner
from search.tuning.racing import Race
from search.tuning.samplers import make_sampler

SHARES = (0.05, 0.1, 0.2, 0.35, 1.0)
WITHIN = 0.01
# Settings that the search keeps unless told otherwise; its rivals keep one.
KEPT, OURS = 2, "this search, random"
# Asks per candidate after which a sampler that repeats itself ends.
MOST_ASKS = 4
N_BOOTSTRAP = 2000
# SMAC3 fits its forest anew all the time, and is replayed less often.
FOREST, FOREST_SHARE = "SMAC3, random forest", 0.2

Searcher = Callable[[Question, int], Replay]
app = make_app("benchmarks.searchers")


@app.default
def main(
    extract: Annotated[Path | None, Parameter(help="Make a new recording from this study's folder.")] = None,
    recording: Annotated[Path, Parameter(help="Recording, a Parquet file.")] = RECORDING,
    seeds: Annotated[int, Parameter(validator=Number(gte=2), help="Searches by each searcher.")] = 200,
    without_smac: Annotated[bool, Parameter(help="Leave out SMAC3, which takes most of the time.")] = False,
) -> None:
    """Replay searchers: epochs until within a point of the best, and regret at equal epochs."""
    console = make_console()
    if extract is not None:
        recording.parent.mkdir(exist_ok=True)
        record(extract).to_parquet(recording, compression="zstd", index=False)
        console.print(f"{recording}: {recording.stat().st_size / 1000:.0f} kB", soft_wrap=True)
        return
    grid = load(recording)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for title, ask in questions(grid):
        print_question(
            console, f"{title} (mean, 95 % bootstrap interval)", ask, searchers(smac=not without_smac), seeds
        )


def questions(grid: Grid) -> Iterator[tuple[str, Callable[[np.random.Generator], Question]]]:
    """Title and maker of each question."""
    n_folds = grid.values.shape[2]
    for n in (1, n_folds):
        yield f"Best setting, {n} fold{'s'[: n > 1]} a level", partial(_best_setting, grid, n)
    yield "Best configuration", partial(best_configuration, grid)


def _best_setting(grid: Grid, n_folds: int, rng: np.random.Generator) -> Question:
    return best_setting(grid, n_folds, rng)


def searchers(*, smac: bool) -> dict[str, Searcher]:
    """All searchers by name."""
    found: dict[str, Searcher] = {
        OURS: partial(ours, sampler="random", pruner="race", kept=KEPT),
        "this search, TPE": partial(ours, sampler="tpe", pruner="race", kept=KEPT),
        "this search, keeping 1": partial(ours, sampler="random", pruner="race", kept=1),
        "this search, asha": partial(ours, sampler="random", pruner="asha", kept=KEPT),
        "random search": partial(ours, sampler="random", pruner="none", kept=KEPT),
        "Optuna random, Wilcoxon": partial(by_optuna, sampler="random", pruner="wilcoxon"),
        "Optuna TPE, Hyperband": partial(by_optuna, sampler="tpe", pruner="hyperband"),
    }
    if smac:
        found["SMAC3, random"] = partial(by_smac, model=False)
        found[FOREST] = partial(by_smac, model=True)
    return found


@dataclass
class Proposals:
    """Candidates as Optuna's samplers propose them on the grid of a question's parameters."""

    question: Question
    sampler: str
    seed: int
    pruner: optuna.pruners.BasePruner | None = None

    def __post_init__(self) -> None:
        # Hyperband draws its brackets from the name.
        name, pruner = f"seed {self.seed}", self.pruner or optuna.pruners.NopPruner()
        self.study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
        self._choices = {
            name: sorted({params[name] for params in self.question.params}) for name in self.question.params[0]
        }
        self._index = {frozenset(params.items()): n for n, params in enumerate(self.question.params)}
        self._startup = min(10, max(2, len(self.question.params) // 2))
        self._order = np.random.default_rng(self.seed).permutation(len(self.question.params))

    def __iter__(self) -> Iterator[tuple[optuna.Trial, int]]:
        """Candidates, which may come again if the sampler is not random."""
        n = len(self.question.params)
        for asked in range(n if self.sampler == "random" else MOST_ASKS * n):
            if self.sampler == "random" or asked < self._startup:
                self.study.enqueue_trial(dict(self.question.params[self._order[asked]]))
            seed = derive_seed(self.seed, asked)
            self.study.sampler = make_sampler(self.sampler, seed=seed, n_startup=self._startup)
            trial = self.study.ask()
            point = {name: trial.suggest_categorical(name, choices) for name, choices in self._choices.items()}
            yield trial, self._index[frozenset(point.items())]


def ours(question: Question, seed: int, *, sampler: str, pruner: Pruner, kept: int) -> Replay:
    """Race candidates by the rules of the search."""
    replay = Replay(question)
    n_blocks = question.values.shape[1]
    race = RaceReplay(replay, Race(pruner=pruner, n_blocks=n_blocks, kept=kept, n_levels=question.n_levels))
    proposals, outcomes = Proposals(question, sampler, seed), {}
    for trial, candidate in proposals:
        if candidate not in outcomes:
            reported: dict[int, float] = {}
            outcomes[candidate] = race.run(candidate, reported.__setitem__), reported
        whole, reported = outcomes[candidate]
        for step, mean in reported.items():
            trial.report(mean, step)
        if whole:
            proposals.study.tell(trial, reported[n_blocks])
        else:
            proposals.study.tell(trial, state=TrialState.PRUNED)
    return replay


def by_optuna(question: Question, seed: int, *, sampler: str, pruner: str) -> Replay:
    """Search with one of Optuna's pruners, which decides after every block.

    Wilcoxon's pruner is given the score of each block, as its documentation says, Hyperband the mean so far.
    """
    n_blocks = question.values.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruners: dict[str, optuna.pruners.BasePruner] = {
            "wilcoxon": optuna.pruners.WilcoxonPruner(),
            "hyperband": optuna.pruners.HyperbandPruner(min_resource=1, max_resource=n_blocks),
        }
    replay, complete = Replay(question), dict[int, float]()
    proposals = Proposals(question, sampler, seed, pruners[pruner])
    for trial, candidate in proposals:
        if not complete:
            replay.choose(candidate)
        scores: list[float] = []
        for block in range(n_blocks):
            scores.append(replay.train(candidate, block))
            trial.report(scores[-1] if pruner == "wilcoxon" else float(np.mean(scores)), block)
            if block < n_blocks - 1 and trial.should_prune():
                proposals.study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            complete[candidate] = float(np.mean(scores))
            proposals.study.tell(trial, complete[candidate])
            replay.choose(max(complete, key=complete.__getitem__))
    return replay


def by_smac(question: Question, seed: int, *, model: bool) -> Replay:
    """Search with SMAC3's intensifier, blocks as instances; candidates by its random forest, or at random."""
    from ConfigSpace import Categorical, ConfigurationSpace
    from smac import AlgorithmConfigurationFacade, RandomFacade, Scenario
    from smac.main.exceptions import ConfigurationSpaceExhaustedException
    from smac.runhistory.dataclasses import TrialValue

    index = {frozenset(map(_text, params.items())): n for n, params in enumerate(question.params)}
    # SMAC3 begins with the default. Left alone, that is each first choice, which on this grid is the best setting.
    first = question.params[np.random.default_rng(seed).permutation(len(question.params))[0]]
    space = ConfigurationSpace(seed=seed)
    for name in first:
        choices = sorted({str(params[name]) for params in question.params})
        space.add(Categorical(name, choices, default=str(first[name])))
    n_blocks, replay = question.values.shape[1], Replay(question)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scenario = Scenario(
            space,
            output_directory=Path(folder),
            deterministic=True,
            n_trials=len(question.params) * n_blocks,
            instances=[str(block) for block in range(n_blocks)],
            instance_features={str(block): [float(block)] for block in range(n_blocks)},
            seed=seed,
        )
        facade: Any = AlgorithmConfigurationFacade if model else RandomFacade
        search = facade(
            scenario,
            lambda config, instance, seed=0: 0.0,  # never called: trials are asked for and told
            intensifier=facade.get_intensifier(scenario, max_config_calls=n_blocks),
            logging_level=logging.CRITICAL,
            overwrite=True,
        )
        while len(replay.known) < len(question.params) * n_blocks:
            try:
                info = search.ask()
            except (StopIteration, ConfigurationSpaceExhaustedException):
                break
            candidate = index[frozenset(map(_text, dict(info.config).items()))]
            value = replay.train(candidate, int(info.instance))
            search.tell(info, TrialValue(cost=1 - value, time=0.0))
            best = search.intensifier.get_incumbent()
            replay.choose(candidate if best is None else index[frozenset(map(_text, dict(best).items()))])
    return replay


def _text(item: tuple[str, Any]) -> tuple[str, str]:
    return item[0], str(item[1])


def regret_at(replay: Replay, share: float) -> float:
    """Points lost by the choice after a share of the grid's epochs; before the first choice, by the worst."""
    truth = replay.question.truth
    made = [choice for epochs, choice in replay.trace if epochs <= share * replay.question.n_epochs]
    return 100 * float(truth.max() - (truth[made[-1]] if made else truth.min()))


def until_within(replay: Replay) -> float:
    """Share of the grid's epochs after which the choice stays within a point of the best; 1 if it never does."""
    truth = replay.question.truth
    since = 1.0
    for epochs, choice in reversed(replay.trace):
        if truth.max() - truth[choice] > WITHIN:
            break
        since = epochs / replay.question.n_epochs
    return since


def print_question(
    console: Console,
    title: str,
    ask: Callable[[np.random.Generator], Question],
    found: dict[str, Searcher],
    seeds: int,
) -> None:
    """Replay all searchers on one question, and print their epochs and regrets."""
    lengths = Table("searcher", "n", title=title, title_justify="left")
    for column in ("within 1 point after, %", "minus ours", "never, %", "epochs in all, %"):
        lengths.add_column(column, justify="right")
    losses = Table("regret after", title_justify="left")
    for share in SHARES:
        losses.add_column(f"{share:.0%}", justify="right")
    baseline: list[float] = []
    for name, searcher in found.items():
        n = max(2, round(FOREST_SHARE * seeds)) if name == FOREST else seeds
        replays = [searcher(ask(np.random.default_rng([7, seed])), seed) for seed in range(n)]
        within = [100 * until_within(replay) for replay in replays]
        baseline = within if name == OURS else baseline
        longer = "" if name == OURS else interval(np.subtract(within, baseline[:n]), 1)
        never = f"{100 * np.mean(np.equal(within, 100)):.0f}"
        spent = f"{np.mean([100 * replay.epochs / replay.question.n_epochs for replay in replays]):.0f}"
        lengths.add_row(name, str(n), interval(within, 1), longer, never, spent)
        regrets = ([regret_at(replay, share) for replay in replays] for share in SHARES)
        losses.add_row(name, *(interval(lost, 2) for lost in regrets))
    console.print(lengths)
    console.print(losses)


def interval(values: Sequence[float] | NDArray[np.float64], digits: int) -> str:
    """Mean and its 95 % percentile bootstrap interval."""
    rng, values = np.random.default_rng(0), np.asarray(values)
    means = values[rng.integers(len(values), size=(N_BOOTSTRAP, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


if __name__ == "__main__":
    run_app(app)
