"""What chooses the values of parameters: a search, given values, or chance."""

import random
from collections.abc import Sequence
from typing import Any, Protocol

Params = dict[str, Any]


class Suggester(Protocol):
    """What chooses the values of parameters. In a search this is an Optuna trial, with Optuna's rules.

    Within a study, a categorical parameter must always have the same choices.
    """

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number from low to high; with `log`, on a logarithmic scale."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number from low to high, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of the choices: all text, all numbers or all booleans."""
        ...


class FixedSuggester:
    """A suggester that returns given parameters.

    Raises:
        KeyError: a requested parameter was not given; contains its name.
    """

    def __init__(self, params: Params) -> None:
        self._params = params

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The given value."""
        return self._params[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The given value."""
        return self._params[name]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The given value; ValueError if it is not one of the choices."""
        if self._params[name] not in choices:
            raise ValueError(f"{name} must be one of {list(choices)}, not {self._params[name]!r}")
        return self._params[name]


class RandomSuggester:
    """A suggester that draws at random, to check and describe a space before its search."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw uniformly, also with `log`: for a check of the space the scale does not matter."""
        return self._random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Draw uniformly from low, low + step, ..."""
        return self._random.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Draw uniformly; ValueError for choices of mixed types, which a table's column cannot hold."""
        kinds = {float if type(choice) is int else type(choice) for choice in choices}
        if len(kinds) != 1 or not kinds <= {str, float, bool}:
            raise ValueError(f"choices of {name} must be all text, all numbers or all booleans: {list(choices)}")
        return self._random.choice(choices)
