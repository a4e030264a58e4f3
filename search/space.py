"""Spaces: the configurations that a study may try, and the factor that it compares.

A space is a Python file that defines `SPACE = Space(...)`. Of this program it imports only this module and
configurations of `wbcmodels`; it may define a network of its own, see `wbcmodels.network.NetworkConfig`:

    from search.space import Configuration, Space, TrainingConfig
    from wbcmodels.config import ModelConfig

    def configure(suggest, level, profile):
        return Configuration(
            model=ModelConfig(
                placement=level,
                dropout=suggest.suggest_float("dropout", 0.0, 0.6),
                input_px=suggest.suggest_categorical("input_px", profile.input_px),
                width=profile.width,
            ),
            training=TrainingConfig(
                epochs=profile.epochs,
                lr=suggest.suggest_float("lr", *profile.lr, log=True),
            ),
        )

    SPACE = Space(
        question="Does a residual block at the first stage help?",
        factor="placement",
        levels=("none", "1"),
        reference="none",
        configure=configure,
    )

`spaces/` holds complete ones; `python -m search.run --space FILE.py` runs a study of your own.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, cast, get_args

from search.imaging import Augmentation, Preparation
from wbcmodels.network import EstimatorConfig, Model

# Levels that a comparison adds to those of the space: the paper's networks at the paper's settings.
PAPER_LEVELS = ("paper_plain", "paper_wbcsnet2")
# The level of a negative control: the reference once more, with seeds of its own.
CONTROL_LEVEL = "control"
ClassWeighting = Literal["none", "balanced"]
Schedule = Literal["cosine", "constant", "one_cycle"]
OptimizerName = Literal["sgd", "adamw", "muon"]
Trained = Literal["whole", "head"]
Params = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained on the cross-entropy.

    Attributes:
        epochs: passes over the training images.
        lr: highest learning rate.
        batch_size: images per step, at most; the batches of an epoch differ by at most one image.
        optimizer: "sgd" with momentum; "adamw"; or "muon" for matrices and AdamW for the rest.
        momentum: of SGD and Muon; with the default weight decay, that of MATLAB's `sgdm`, which the paper used.
        weight_decay: of SGD as a part of the gradient, of the others decoupled from it.
        schedule: "cosine" warms up over a fifth of the steps and then falls to zero; "one_cycle" warms up over
            three tenths of them; "constant" keeps the rate.
        class_weighting: "balanced" weights a class in the loss by sqrt(n_images / (its images * classes present));
            "none" weights all images equally. Without the square root, more rare cells are found, but more
            common cells are taken for rare ones: on the 2172 cells of PBC (28 px, 10 epochs, placement 1, 4 of 10
            folds, one seed) accuracy is 0.940 and balanced accuracy 0.902, against 0.974 and 0.907 with the root,
            and 0.973 and 0.882 without weights.
        label_smoothing: share of each label that is spread over all classes, at least 0 and below 1.
        clip_norm: largest norm of all gradients together; None sets no limit.
        ema_decay: the network is scored and saved with an exponential average of its weights, of which each step
            keeps this share; None keeps no average.
        trained: "head" trains the last layer only, on the features of pretrained weights.
        augmentation: how images are changed at random; flips and quarter turns are always made.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    epochs: int
    lr: float
    batch_size: int = 32
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    class_weighting: ClassWeighting = "none"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    trained: Trained = "whole"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Check every field."""
        choices = {
            "optimizer": get_args(OptimizerName),
            "schedule": get_args(Schedule),
            "class_weighting": get_args(ClassWeighting),
            "trained": get_args(Trained),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {getattr(self, name)!r}")
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"clip_norm must be above 0, not {self.clip_norm}")
        for name in ("momentum", "label_smoothing", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {value}")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A network, or a classifier of measured features, its training, and the preparation of its images.

    Of the training, such a classifier takes `epochs` alone, which must be 1: it is fitted at once. It measures
    images as they are.

    Raises:
        TypeError: the model is not described as `wbcmodels.network` says.
        ValueError: more than one epoch, or prepared images, for a classifier of measured features.
    """

    model: Model
    training: TrainingConfig
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        """Check what describes the model."""
        kind = type(self.model)
        parameters = getattr(kind, "__dataclass_params__", None)
        fitted_at_once = isinstance(self.model, EstimatorConfig)
        builds = fitted_at_once or callable(getattr(self.model, "build", None))
        if parameters is None or not parameters.frozen or not builds:
            raise TypeError(
                f"model must be a frozen dataclass with a method build(n_classes, seed), not {kind.__name__}"
            )
        if fitted_at_once and self.training.epochs != 1:
            raise ValueError(f"{kind.__name__} is fitted at once: epochs must be 1, not {self.training.epochs}")
        if fitted_at_once and self.preparation != Preparation():
            raise ValueError(f"{kind.__name__} measures images as they are: leave its preparation out")
        if not isinstance(getattr(self.model, "input_px", None), int):
            raise TypeError(f"{kind.__name__}.input_px must be a whole number of px")
        hash(self.model)

    def fields(self) -> dict[str, Any]:
        """All fields of network, training, augmentation and preparation, by name."""
        training = asdict(self.training)
        augmentation = training.pop("augmentation")
        styles = {"styles": len(augmentation.pop("styles"))}
        parts = (asdict(cast(Any, self.model)), training, augmentation, styles, asdict(self.preparation))
        return {name: value for part in parts for name, value in part.items()}


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


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The scale of a study: how wide the networks are and how much they are trained.

    `configure` takes width, epochs, sides and learning rates from here, so that one space serves a quick look
    on a laptop and the paper's scale on a cluster.

    Attributes:
        width: factor on the channels of every network, see `ModelConfig.width`.
        epochs: of every training on the source data set.
        transfer_epochs: of every training on the target data set, which is usually small and has few batches.
        input_px: sides to choose from; images are decoded once, at all of these sides.
        lr: lowest and highest learning rate.
        settings: settings that the search tries at every level, unless `--trials` is given.
        trials_per_level: the same where every level is searched by itself.
        search_folds: number of folds on which a trial is scored where every level is searched by itself, unless
            `--search-folds` is given.
        finalists: where every level is searched by itself, its best trials that are trained again, on new seeds
            and folds, to choose the level's configurations; with 1, the best trials are taken as they are.
    """

    width: float
    epochs: int
    transfer_epochs: int
    input_px: tuple[int, ...]
    lr: tuple[float, float]
    settings: int = 8
    trials_per_level: int
    search_folds: int
    finalists: int = 1


PAPER_PROFILE = Profile(
    width=1.0,
    epochs=40,
    transfer_epochs=40,
    input_px=(48, 56, 64, 70),
    lr=(0.0003, 0.01),
    settings=12,
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
class Effect:
    """A question about several levels at once: what one change does, averaged over everything else.

    Attributes:
        name: of the change, such as "block at stage 1".
        levels: that have it; the effect is their mean minus the mean of all other levels.
    """

    name: str
    levels: tuple[str, ...]


def effects_of_parts(levels: Sequence[str], names: Mapping[str, str]) -> tuple[Effect, ...]:
    """The effects of the parts that levels such as "1+2" are made of.

    Args:
        names: part -> name of its effect.
    """
    return tuple(
        Effect(name=name, levels=tuple(level for level in levels if part in level.split("+")))
        for part, name in names.items()
    )


@dataclass(frozen=True, kw_only=True)
class Space:
    """The allowed configurations, and the factor whose levels a study compares.

    Attributes:
        question: the question that a study of this space answers; shown on the console and in the report.
        configure: (suggester, level, profile) -> Configuration. Asks the suggester for every parameter that
            varies; which parameters it asks for may depend on earlier answers (conditional parameters).
        paper: the profile with the paper's width and epochs, for `--profile paper`.
        quick: profiles from large to small for `--profile quick`; a study takes the first that fits its time.
        factor: name of the compared parameter; None if the space compares nothing.
        levels: values of the factor.
        settings: "shared" tries every setting at every level: within a setting, a parameter that `configure` asks
            for under one name and range has one value at all levels. "own" searches every level by itself, with
            the same number of trials, for levels that need different settings. Without a factor it makes no
            difference.
        reference: the level that the others are compared with.
        effects: asked about besides the differences from the reference.
        first_points: (level, profile) -> parameters to try before all others; every point names all parameters
            that `configure` asks for at that level.
        paper_networks: compare the paper's two networks as well, at the paper's settings, and set the paper's
            figures beside the study's on its page. For a space that is not about the paper, False.
    """

    question: str
    configure: Callable[[Suggester, str, Profile], Configuration]
    paper: Profile = PAPER_PROFILE
    quick: tuple[Profile, ...] = QUICK_PROFILES
    factor: str | None = None
    levels: tuple[str, ...] = ("all",)
    settings: Literal["shared", "own"] = "shared"
    reference: str = "paper_plain"
    effects: tuple[Effect, ...] = ()
    first_points: Callable[[str, Profile], tuple[Params, ...]] = field(default=lambda level, profile: ())
    paper_networks: bool = True

    @property
    def paper_levels(self) -> tuple[str, ...]:
        """Levels that are compared beside those of the space."""
        return PAPER_LEVELS if self.paper_networks else ()

    @property
    def shares_settings(self) -> bool:
        """Whether all levels are tried at the same settings."""
        return self.factor is not None and self.settings == "shared"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The levels, grouped by those that are searched together."""
        return (self.levels,) if self.shares_settings else tuple((level,) for level in self.levels)


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


def sample(space: Space, level: str, profile: Profile, n: int) -> list[Configuration]:
    """Draw n configurations of a level; every call gives the same ones."""
    return [space.configure(RandomSuggester(seed), level, profile) for seed in range(n)]
