"""Optuna's samplers by their names on the command line."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna

from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.space import Profile, RandomSuggester, Space

SAMPLES = 40


def make_sampler(name: str, *, seed: int, n_startup: int) -> optuna.samplers.BaseSampler:
    """A sampler for a single ask: a study that is resumed must not repeat a random stream from its beginning.

    Args:
        name: tpe, random, cmaes, gp or nsga2.
        n_startup: trials drawn at random before the sampler uses earlier results; for nsga2 the population size.
    """
    return _ByName(lambda *param: _sampler(name, derive_seed(seed, *param), n_startup))


class _ByName(optuna.samplers.BaseSampler):
    """Draws a parameter by its name alone, whatever was drawn before it.

    So a trial that was cut off while it was drawn is completed as if it had not been, and a parameter that some
    levels ask for changes no other.

    Args:
        make: creates the sampler of all parameters together, or of the one named.
    """

    def __init__(self, make: Callable[..., optuna.samplers.BaseSampler]) -> None:
        self._make, self._joint = make, make()

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return self._joint.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        return self._joint.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._make(param_name).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        self._joint.before_trial(study, trial)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self._joint.after_trial(study, trial, state, values)


def _sampler(name: str, seed: int, n_startup: int) -> optuna.samplers.BaseSampler:
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
        InputError: cmaes with several objectives, or for levels of which fewer than two numbers vary.
    """
    if name != "cmaes":
        return
    if n_objectives > 1:
        raise InputError("--sampler cmaes: supports one objective only, but --objectives has several")
    for group in space.groups:
        numbers = set().union(*(_numbers_varied(space, level, profile) for level in group))
        if len(numbers) < 2:
            found = ", ".join(sorted(numbers)) or "none"
            where = f"level {group[0]} has" if len(group) == 1 else "all levels have"
            raise InputError(f"--sampler cmaes: needs two varying numbers, but {where} only: {found}")


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
