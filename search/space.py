"""The types that a space is written in. A space imports this module and `wbcmodels.config`, nothing else."""

import importlib.util
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from search.common.errors import InputError
from search.common.installation import SPACES
from wbcmodels.config import ModelConfig

# Levels that stand beside those of every space: the paper's networks at its settings.
PAPER_LEVELS = ("paper_plain", "paper_wbcsnet2")
ClassWeighting = Literal["none", "balanced"]
Schedule = Literal["cosine", "constant"]
Params = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained: SGD with momentum on the cross-entropy.

    Attributes:
        epochs: passes over the training images.
        lr: highest learning rate.
        schedule: "cosine" warms up over a fifth of the steps and then falls to zero, "constant" keeps the rate.
        momentum, weight_decay: of SGD; the defaults are those of MATLAB's `sgdm`, which the paper used.
        class_weighting: "balanced" weighs a class in the loss by sqrt(n_images / (its images * classes present)).
            Without the root, rare cells are found at the price of common ones taken for rare: on the 2172 cells
            of PBC (28 px, 10 epochs, placement 1, 4 of 10 folds, one seed) accuracy 0.940 and balanced accuracy
            0.902, against 0.974 and 0.907 with it, and 0.973 and 0.882 without any weights.
    """

    epochs: int
    lr: float
    batch_size: int = 32
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    class_weighting: ClassWeighting = "none"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One network and how it is trained."""

    model: ModelConfig
    training: TrainingConfig


class Suggester(Protocol):
    """Chooses parameter values; Optuna's trials are such choosers, and their rules for arguments hold."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from low to high, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One size at which a space can be searched.

    Attributes:
        width, epochs: of every network and training on the source.
        transfer_epochs: of trainings on the target, which as a rule is small and so has few batches an epoch.
        input_px: sides to choose from; images are decoded once, at all of them.
        lr: lowest and highest learning rate.
        trials_per_level: of the search, unless the command line says otherwise.
        search_folds: partition of the development set that trials are scored on.
        finalists: trials of each level that are trained again on fresh seeds and folds, for the best of them to
            stand for the level; with one this is skipped.
    """

    width: float
    epochs: int
    transfer_epochs: int
    input_px: tuple[int, ...]
    lr: tuple[float, float]
    trials_per_level: int
    search_folds: int
    finalists: int = 1


PAPER_PROFILE = Profile(
    width=1.0,
    epochs=40,
    transfer_epochs=40,
    input_px=(48, 56, 64, 70),
    lr=(0.0003, 0.01),
    trials_per_level=8,
    search_folds=5,
    finalists=3,
)


def _quick(
    *, epochs: int, transfer_epochs: int, input_px: tuple[int, ...], trials: int, width: float = 0.25
) -> Profile:
    return Profile(
        width=width,
        epochs=epochs,
        transfer_epochs=transfer_epochs,
        input_px=input_px,
        lr=(0.002, 0.03),
        trials_per_level=trials,
        search_folds=3,
    )


QUICK_PROFILES = (
    _quick(epochs=14, transfer_epochs=40, input_px=(32, 40), trials=4),
    _quick(epochs=12, transfer_epochs=36, input_px=(28, 32), trials=4),
    _quick(epochs=12, transfer_epochs=36, input_px=(24, 28), trials=3),
    _quick(epochs=8, transfer_epochs=16, input_px=(24, 28), trials=3),
    _quick(epochs=5, transfer_epochs=5, input_px=(24, 28), trials=3),
    _quick(epochs=4, transfer_epochs=6, input_px=(24,), trials=2, width=0.125),
)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The allowed configurations and the factor whose levels are compared.

    Attributes:
        question: what a study of this space answers, for the console.
        factor: name of the compared parameter; None where a space compares nothing.
        levels: its values, each searched for itself with the same number of trials.
        reference: level from which differences are counted.
        configure: (suggester, level, profile) -> Configuration. Asks the suggester for whatever varies;
            what it asks for may depend on what it got (conditional parameters).
        first_points: (level, profile) -> parameters tried before any others, complete for that level.
        paper: the profile at the paper's widths and epochs.
        quick: profiles from rich to poor; a study takes the first that fits its time.
    """

    question: str
    configure: Callable[[Suggester, str, Profile], Configuration]
    paper: Profile = PAPER_PROFILE
    quick: tuple[Profile, ...] = QUICK_PROFILES
    factor: str | None = None
    levels: tuple[str, ...] = ("all",)
    reference: str = "paper_plain"
    first_points: Callable[[str, Profile], tuple[Params, ...]] = field(default=lambda level, profile: ())


class FixedSuggester:
    """Answers with given parameters.

    Raises:
        KeyError: a parameter that is asked for was not given; holds its name.
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
        """The given value; ValueError if it is none of the choices."""
        if self._params[name] not in choices:
            raise ValueError(f"{name} must be one of {list(choices)}, but it is {self._params[name]!r}")
        return self._params[name]


class RandomSuggester:
    """Draws parameters at random, to see what a space holds before anything is searched."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Uniform; for what this class is for, the scale does not matter."""
        return self._random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Uniform over low, low + step, ..."""
        return self._random.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Uniform; ValueError for choices that a table's column cannot hold."""
        kinds = {float if type(choice) is int else type(choice) for choice in choices}
        if len(kinds) != 1 or not kinds <= {str, float, bool}:
            raise ValueError(f"choices of {name} must be all text, all numbers or all booleans: {list(choices)}")
        return self._random.choice(choices)


def sample(space: Space, level: str, profile: Profile, n: int) -> list[Configuration]:
    """Draw n configurations of a level, the same ones at every call."""
    return [space.configure(RandomSuggester(seed), level, profile) for seed in range(n)]


def load_space(name_or_path: str) -> tuple[str, Space]:
    """Load a space by the name of a module in `spaces/`, or from a Python file.

    Returns:
        Its name (of the module or file) and the SPACE defined there.
    Raises:
        InputError: no such space, a file that cannot be imported, no SPACE in it, or a SPACE that cannot
            make its configurations.
    """
    path = space_file(name_or_path)
    space = getattr(_import_file(path), "SPACE", None)
    if not isinstance(space, Space):
        raise InputError(f"--space {name_or_path}: it defines no SPACE = Space(...)")
    _check(name_or_path, space)
    return path.stem, space


def space_file(name_or_path: str) -> Path:
    """The file of a space.

    Raises:
        InputError: there is none.
    """
    path = Path(name_or_path) if name_or_path.endswith(".py") else _named_file(name_or_path)
    if not path.is_file():
        raise InputError(f"--space {path}: there is no such file")
    return path


def _named_file(name: str) -> Path:
    known = sorted(path.stem for path in SPACES.glob("*.py") if path.stem != "__init__")
    if name not in known:
        raise InputError(f"--space {name}: there is no such space; there are {', '.join(known)}, or FILE.py")
    # By file and not by package name: another distribution is also called `spaces`.
    return SPACES / f"{name}.py"


def _import_file(path: Path) -> ModuleType:
    name = f"wbc_search_space_{path.stem}"  # cannot shadow another module
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None  # both hold for any path that ends in .py
    module = importlib.util.module_from_spec(specification)
    # Dataclasses look their module up by its name while its code runs.
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"--space {path}: {type(error).__name__}: {error}") from error
    return module


def _check(name: str, space: Space) -> None:
    if not space.levels or not space.quick:
        raise InputError(f"--space {name}: SPACE needs at least one level and one quick profile")
    if len(set(space.levels)) < len(space.levels):
        raise InputError(f"--space {name}: a level stands twice in {', '.join(space.levels)}")
    if space.reference not in (*space.levels, *PAPER_LEVELS):
        raise InputError(f"--space {name}: the reference {space.reference} is none of {', '.join(space.levels)}")
    for profile in (space.paper, *space.quick):
        for level in space.levels:
            try:
                made = sample(space, level, profile, 3)
                made += [
                    space.configure(FixedSuggester(params), level, profile)
                    for params in space.first_points(level, profile)
                ]
                if not all(isinstance(configuration, Configuration) for configuration in made):
                    raise TypeError("configure must return a Configuration")
            except Exception as error:
                raise InputError(f"--space {name}, level {level}: {type(error).__name__}: {error}") from error
