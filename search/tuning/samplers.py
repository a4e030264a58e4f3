"""Optuna's samplers by their names on the command line."""

import warnings
from typing import Any

import optuna

from search.common.errors import InputError
from search.space import Profile, RandomSuggester, Space

SAMPLES = 40


def make_sampler(name: str, *, seed: int, n_startup: int) -> optuna.samplers.BaseSampler:
    """A sampler for a single ask: a study that is resumed must not repeat a random stream from its beginning.

    Args:
        name: tpe, random, cmaes, gp or nsga2.
        n_startup: trials drawn at random before the sampler uses earlier results; for nsga2 the population size.
    """
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, n_startup))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "gp":
            return optuna.samplers.GPSampler(
                seed=seed, n_startup_trials=n_startup, warn_independent_sampling=False
            )
        return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=n_startup, warn_independent_sampling=False)


def check_sampler(name: str, space: Space, profile: Profile, n_objectives: int) -> None:
    """Check that a sampler can search a space.

    Raises:
        InputError: cmaes with several objectives, or at a level where fewer than two numbers vary.
    """
    if name != "cmaes":
        return
    if n_objectives > 1:
        raise InputError("--sampler cmaes: supports one objective only, but --objectives has several")
    for level in space.levels:
        numbers = _numbers_varied(space, level, profile)
        if len(numbers) < 2:
            found = ", ".join(sorted(numbers)) or "none"
            raise InputError(f"--sampler cmaes: needs two varying numbers, but level {level} has only: {found}")


class _NumberRecorder(RandomSuggester):
    """Draws at random and records the names of numbers that can take more than one value."""

    def __init__(self, seed: int, names: set[str]) -> None:
        super().__init__(seed)
        self._names = names

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> float:
        self._note(name, low, high)
        return super().suggest_float(name, low, high, **options)

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> int:
        self._note(name, low, high)
        return super().suggest_int(name, low, high, **options)

    def _note(self, name: str, low: float, high: float) -> None:
        if low < high:
            self._names.add(name)


def _numbers_varied(space: Space, level: str, profile: Profile) -> set[str]:
    names: set[str] = set()
    for seed in range(SAMPLES):
        space.configure(_NumberRecorder(seed, names), level, profile)
    return names
