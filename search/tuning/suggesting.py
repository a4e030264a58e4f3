"""Parameters of one setting, as each of its levels asks for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FixedTrial

from search.space import Params


class LevelSuggester:
    """Chooses a level's parameters from the trial that all levels of a setting share.

    A parameter that levels ask for under one name and range has one value. One that a level asks for with another
    range than the levels before it has a value of its own, under a name with the level's in brackets.

    Args:
        ranges: name -> range of the parameters that levels have asked for so far; extended.

    Attributes:
        params: that this level asked for, by their names in the space.
    """

    def __init__(self, trial: BaseTrial, level: str, ranges: dict[str, BaseDistribution]) -> None:
        self._trial, self._level, self._ranges = trial, level, ranges
        self.params: Params = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number."""
        shared = self._shared_name(name, FloatDistribution(low, high, log=log, step=step))
        value = self._source(name, shared).suggest_float(shared, low, high, step=step, log=log)
        self.params[name] = value
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number."""
        shared = self._shared_name(name, IntDistribution(low, high, log=log, step=step))
        value = self._source(name, shared).suggest_int(shared, low, high, step=step, log=log)
        self.params[name] = value
        return value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of the choices."""
        shared = self._shared_name(name, CategoricalDistribution(choices))
        value = self._source(name, shared).suggest_categorical(shared, choices)
        self.params[name] = value
        return value

    def _shared_name(self, name: str, distribution: BaseDistribution) -> str:
        return name if self._ranges.setdefault(name, distribution) == distribution else f"{name} [{self._level}]"

    def _source(self, name: str, shared: str) -> BaseTrial:
        return self._trial


class KnownSuggester(LevelSuggester):
    """Gives a level known parameters, and notes under which names and ranges the setting shares them.

    Raises:
        KeyError: a parameter is not known.
    """

    def __init__(self, known: Mapping[str, Any], level: str, ranges: dict[str, BaseDistribution]) -> None:
        super().__init__(FixedTrial({}), level, ranges)
        self._known = known
        self.shared: dict[str, tuple[Any, BaseDistribution]] = {}

    def _shared_name(self, name: str, distribution: BaseDistribution) -> str:
        shared = super()._shared_name(name, distribution)
        self.shared[shared] = self._known[name], distribution
        return shared

    def _source(self, name: str, shared: str) -> BaseTrial:
        return FixedTrial({shared: self._known[name]})
