"""Whole designs of a study in simulations from a recorded grid: how well do they tell levels apart?

    python -m benchmarks.designs

A design searches settings and compares the levels at those that it keeps. Simulated studies draw the score of a
level at a setting on a fold as an additive part, an interaction, and noise of folds, all estimated from the grid.
The interaction is either shrunk by its noise, or taken as real, noise included. Error is that of the estimated
difference of each level from the reference, against the difference of their true bests, in points. False alarms
are those of a test that knows the noise exactly, over all differences together, in studies whose levels are truly
equal.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.replay import Grid, load
from search.analysis.selection import kept_settings
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.tuning.racing import Block, Curve, Race, Rivals

Values = NDArray[np.float64]
REFERENCE, COMPARED_FOLDS, ALPHA = "none", 10, 0.05
N_NULL = 100_000

app = make_app("benchmarks.designs")


@app.default
def main(
    draws: Annotated[int, Parameter(validator=Number(gte=2), help="Simulated studies of each kind.")] = 2000,
) -> None:
    """Simulate designs: trainings of a level, errors of differences, and false alarms."""
    console, grid = make_console(), load()
    world = estimate(grid)
    settings, levels = (100 * part.std(ddof=1) for part in (world.settings, world.levels))
    low, high = (100 * np.sqrt(value) for value in (world.noise.min(), world.noise.max()))
    console.print(
        f"SD, points: settings {settings:.1f}, levels {levels:.1f}, a level's noise {low:.1f} to {high:.1f}"
    )
    shrunk = replace(world, interaction=np.sqrt(world.real_share) * world.interaction)
    equal = replace(world, interaction=0 * world.interaction, levels=0 * world.levels)
    table = Table(title=f"Designs, {draws} studies of each kind", title_justify="left")
    for column in ("design", "trainings a level", "RMSE, shrunk", "RMSE, as real", "false alarms, %"):
        table.add_column(column, justify="left" if column == "design" else "right")
    for name, design in DESIGNS.items():
        found = [simulate(kind, design, draws) for kind in (shrunk, world, equal)]
        errors = [f"{value:.2f} ± {half:.2f}" for value, half in map(rmse, found[:2])]
        share = float(np.mean(found[2].alarms))
        half = 196 * np.sqrt(share * (1 - share) / draws)
        trainings = np.mean(found[0].trainings)
        table.add_row(name, f"{trainings:.1f}", *errors, f"{100 * share:.1f} ± {half:.1f}")
    console.print(table)


@dataclass(frozen=True)
class World:
    """Where scores come from.

    Attributes:
        levels, settings, interaction: parts of the mean score.
        reference: position of the reference among the levels.
        fold: variance of what all scores on a fold share.
        fold_setting, noise: variances of what scores at a setting share besides, and of the rest, by setting: bad
            settings scatter most.
        curves: recorded scores after each epoch minus the last, shape (levels, settings, folds, epochs).
        real_share: of the variance of the interaction, what its noise does not explain, by setting.
    """

    mean: float
    levels: Values
    settings: Values
    interaction: Values
    reference: int
    fold: float
    fold_setting: Values
    noise: Values
    curves: Values
    real_share: Values

    @property
    def truth(self) -> Values:
        """Mean scores, shape (levels, settings)."""
        return self.mean + self.levels[:, None] + self.settings + self.interaction

    def scores(self, rng: np.random.Generator, n_folds: int, partition: int) -> Values:
        """Scores on some folds of a partition, shape (levels, settings, n_folds).

        A fold of half the images varies by twice as much.
        """
        n_levels, n_settings = self.interaction.shape
        noise = (
            np.sqrt(self.fold) * rng.normal(size=n_folds)
            + np.sqrt(self.fold_setting)[:, None] * rng.normal(size=(n_settings, n_folds))
            + np.sqrt(self.noise)[:, None] * rng.normal(size=(n_levels, n_settings, n_folds))
        )
        return self.truth[..., None] + np.sqrt(partition / self.curves.shape[2]) * noise


def estimate(grid: Grid) -> World:
    """Estimate where a grid's scores come from, by analysis of variance."""
    y = grid.final
    n_levels, n_settings, n_folds = y.shape
    cells, mean = y.mean(axis=2), float(y.mean())
    levels, settings = cells.mean(axis=1) - mean, cells.mean(axis=0) - mean
    interaction = cells - mean - levels[:, None] - settings
    rest = y - cells[..., None]
    by_setting = rest.mean(axis=0)
    folds = by_setting.mean(axis=0)
    noise = ((rest - by_setting) ** 2).sum(axis=(0, 2)) / ((n_levels - 1) * (n_folds - 1))
    of_settings = n_settings / (n_settings - 1)  # their mean is taken away
    observed = of_settings * (interaction**2).sum(axis=0) / (n_levels - 1)
    scatter = of_settings * ((by_setting - folds) ** 2).sum(axis=1) / (n_folds - 1)
    return World(
        mean=mean,
        levels=levels,
        settings=settings,
        interaction=interaction,
        reference=grid.levels.index(REFERENCE),
        fold=float((folds**2).sum() / (n_folds - 1)),
        fold_setting=np.maximum(0.0, scatter - noise / n_levels),
        noise=noise,
        curves=grid.values - grid.values[..., -1:],
        real_share=np.maximum(0.0, 1 - noise / n_folds / observed),
    )


@dataclass(frozen=True)
class Study:
    """A simulated study, as far as a design needs it."""

    world: World
    rng: np.random.Generator

    def draw(self, n: int) -> list[int]:
        """Different settings of the grid, at random."""
        return [int(setting) for setting in self.rng.permutation(len(self.world.settings))[:n]]


# What levels are compared at, shape (levels, kept) of settings, and the trainings of a level that the search took.
Design = Callable[[Study], tuple[NDArray[np.int64], float]]


def tuned(study: Study) -> tuple[NDArray[np.int64], float]:
    """Two common settings and two of its own for each level, on three folds; each level keeps its best."""
    n_levels = len(study.world.levels)
    scores = study.world.scores(study.rng, 3, 3).mean(axis=2)
    common = study.draw(2)
    kept = []
    for level in range(n_levels):
        rest = [setting for setting in study.draw(len(study.world.settings)) if setting not in common]
        kept.append([max([*common, *rest[:2]], key=lambda setting: scores[level, setting])])
    return np.array(kept), 12.0


def crossed(study: Study, n: int, n_kept: int = 2, *, turns: bool = True) -> tuple[NDArray[np.int64], float]:
    """Settings tried at every level on one fold of five, and raced; all levels keep the best by their mean.

    Args:
        turns: levels take turns with the folds, as in the search, instead of sharing one.
    """
    world, rng = study.world, study.rng
    n_levels, settings = len(world.levels), study.draw(n)
    n_folds = world.curves.shape[2]
    fold_of = np.arange(n_levels) % n_folds if turns else np.zeros(n_levels, dtype=int)
    scores = world.scores(rng, n_folds, n_folds)[np.arange(n_levels), :, fold_of]
    order, shapes = rng.permutation(n_levels), rng.integers(n_folds, size=scores.shape)
    race = Race(pruner="race", n_blocks=n_levels, kept=n_kept, n_levels=n_levels)
    decided = Rivals()
    trials: list[dict[str, object]] = []
    for setting in settings:
        values = scores[order, setting, None] + world.curves[order, setting, shapes[order, setting]]
        blocks = [Block(values=row.tolist(), n_epochs=len(row), finished=True) for row in values]
        whole = Curve(blocks=blocks, whole=True)
        stopped = race.stopped(whole, decided)
        curve = stopped or whole
        decided.put(len(decided), curve)
        for level, value in zip(order, curve.finals, strict=False):
            row = {"number": len(trials), "level": str(level), "setting": setting, "value": value}
            trials.append({**row, "state": "PRUNED" if stopped else "COMPLETE"})
    kept = kept_settings(trials, n_kept)
    n_epochs = world.curves.shape[3]
    return np.tile(kept, (n_levels, 1)), sum(curve.n_points for curve in decided.curves) / n_epochs / n_levels


def own_best(study: Study, n: int, n_kept: int = 2) -> tuple[NDArray[np.int64], float]:
    """The same without racing, but every level keeps its own best."""
    scores = study.world.scores(study.rng, 1, study.world.curves.shape[2])[..., 0]
    settings = np.array(study.draw(n))
    return settings[np.argsort(-scores[:, settings], axis=1)[:, :n_kept]], float(n)


DESIGNS: dict[str, Design] = {
    "each level tuned: 2 common + 2 own settings on 3 folds, the best on 10": tuned,
    "crossed: 8 settings on 1 fold, the best 2 by their mean on 10 each": lambda study: crossed(study, 8),
    "crossed: 12 settings on 1 fold, the same": lambda study: crossed(study, 12),
    "8 settings, all levels on the same fold": lambda study: crossed(study, 8, turns=False),
    "12 settings, all levels on the same fold": lambda study: crossed(study, 12, turns=False),
    "8 settings on 1 fold, each level's own best 2 on 10 each": lambda study: own_best(study, 8),
}


@dataclass(frozen=True)
class Simulated:
    """Results of simulated studies.

    Attributes:
        errors: of the estimated differences, shape (studies, levels - 1).
        alarms: whether a study calls any level different.
        trainings: of one level, search and comparison.
    """

    errors: Values
    alarms: NDArray[np.bool_]
    trainings: Values


def simulate(world: World, design: Design, draws: int) -> Simulated:
    """Run a design in many studies: search, and compare at what it keeps on fresh folds."""
    best, errors, alarms, trainings = world.truth.max(axis=1), [], [], []
    true = np.delete(best - best[world.reference], world.reference)
    bound = critical_value(len(best) - 1)
    for seed in range(draws):
        study = Study(world, np.random.default_rng([11, seed]))
        kept, searched = design(study)
        found = compared(world, kept, study.rng)
        errors.append(found - true)
        alarms.append(bool((np.abs(found) > bound * standard_errors(world, kept)).any()))
        trainings.append(searched + COMPARED_FOLDS * kept.shape[1])
    return Simulated(np.array(errors), np.array(alarms), np.array(trainings))


def compared(world: World, kept: NDArray[np.int64], rng: np.random.Generator) -> Values:
    """Estimated differences from the reference; every run of ten folds has a partition of its own."""
    runs = []
    for settings in kept.T:
        scores = world.scores(rng, COMPARED_FOLDS, COMPARED_FOLDS).mean(axis=2)
        runs.append(scores[np.arange(len(settings)), settings])
    means = np.mean(runs, axis=0)
    return np.delete(means - means[world.reference], world.reference)


def standard_errors(world: World, kept: NDArray[np.int64]) -> Values:
    """True standard errors of the estimated differences."""
    n_kept = kept.shape[1]
    share = 1 / world.curves.shape[2] / n_kept**2  # ten folds of a tenth vary as much as five of a fifth
    variances = []
    for own in np.delete(kept, world.reference, axis=0):
        other = kept[world.reference]
        differs = own != other  # at one setting, both levels share what folds do to it
        own_parts = world.noise[own] + differs * world.fold_setting[own]
        variances.append(share * (own_parts + world.noise[other] + differs * world.fold_setting[other]).sum())
    return np.sqrt(variances)


def critical_value(n: int) -> float:
    """Bound of the largest |z| of n differences from one reference, all equally exact."""
    z = np.random.default_rng(13).normal(size=(N_NULL, n + 1))
    return float(np.quantile(np.abs(z[:, 1:] - z[:, :1]).max(axis=1) / np.sqrt(2), 1 - ALPHA))


def rmse(found: Simulated) -> tuple[float, float]:
    """Root mean square error in points, and half its 95 % interval over studies."""
    squares = (found.errors**2).mean(axis=1)
    value = float(np.sqrt(squares.mean()))
    return 100 * value, 100 * 1.96 * float(squares.std() / np.sqrt(len(squares))) / (2 * value)


if __name__ == "__main__":
    run_app(app)
