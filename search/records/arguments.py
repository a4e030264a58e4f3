"""What the command line asks for, checked."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from search.common.errors import InputError

Pruner = Literal["race", "asha", "none"]
PROFILES = ("auto", "quick", "paper")
# What can be searched for: names in `search.common.metrics.Metrics` of which more is better.
METRICS = ("balanced_accuracy", "accuracy", "macro_f1")
# What can be weighed against it, and of which less is better.
COSTS = ("macs", "n_parameters")
SAMPLERS = ("tpe", "random", "cmaes", "gp", "nsga2")
LOGS = ("tensorboard", "mlflow")  # also the names of packages and extras
PRUNERS: tuple[Pruner, ...] = ("race", "asha", "none")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of a study, as they stand in `study.json`; see `search.run` for their meaning.

    Raises:
        InputError: a value that makes no sense; names the flag and the value.
    """

    space: str
    data: str = "synthetic"
    transfer_data: str = "none"
    profile: str = "auto"
    trials: int | None = None
    time_budget: str | None = None
    search_folds: int | None = None
    folds: int = 10
    repeats: int = 1
    seed: int = 0
    metric: str = "balanced_accuracy"
    objectives: str | None = None
    sampler: str = "tpe"
    pruner: Pruner = "race"
    finalists: int | None = None
    class_names: str | None = None
    groups: str | None = None
    transfer_groups: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        """Check every value on its own."""
        at_least("--trials", self.trials, 1)
        at_least("--search-folds", self.search_folds, 2)
        at_least("--folds", self.folds, 2)
        at_least("--repeats", self.repeats, 1)
        at_least("--seed", self.seed, 0)
        one_of("--profile", self.profile, PROFILES)
        one_of("--metric", self.metric, METRICS)
        one_of("--sampler", self.sampler, SAMPLERS)
        one_of("--pruner", self.pruner, PRUNERS)
        at_least("--finalists", self.finalists, 1)
        _ = self.time_budget_s, self.class_name_of, self.objective_names

    @property
    def time_budget_s(self) -> float | None:
        """The time budget in seconds."""
        return None if self.time_budget is None else parse_duration("--time-budget", self.time_budget)

    @property
    def objective_names(self) -> tuple[str, ...]:
        """What is searched for, the metric first."""
        if self.objectives is None:
            return (self.metric,)
        names = tuple(name.strip() for name in self.objectives.split(","))
        for name in names:
            one_of("--objectives", name, METRICS + COSTS)
        if names[0] != self.metric:
            raise InputError(f"--objectives {self.objectives}: the first must be --metric, {self.metric}")
        if len(set(names)) < len(names):
            raise InputError(f"--objectives {self.objectives}: one stands there twice")
        return names

    @property
    def class_name_of(self) -> dict[str, str] | None:
        """The class names by label."""
        return None if self.class_names is None else _parse_class_names(self.class_names)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a study may use; it changes no result but through the order in which parallel trials end.

    Raises:
        InputError: a value that makes no sense; names the flag and the value.
    """

    gpus_per_trial: float | Literal["auto"] | None = None
    cpus_per_trial: int = 1
    max_concurrent: int | None = None
    address: str | None = None
    trial_timeout: str | None = None
    profile_trace: bool = False
    log_to: str | None = None

    def __post_init__(self) -> None:
        """Check every value on its own."""
        if self.log_to is not None:
            one_of("--log-to", self.log_to, LOGS)
            if find_spec(self.log_to) is None:
                raise InputError(f"--log-to {self.log_to}: it needs pip install 'wbc-search[{self.log_to}]'")
        _ = self.trial_timeout_s
        if self.gpus_per_trial != "auto":
            at_least("--gpus-per-trial", self.gpus_per_trial, 0)
        at_least("--cpus-per-trial", self.cpus_per_trial, 1)
        at_least("--max-concurrent", self.max_concurrent, 1)

    @property
    def trial_timeout_s(self) -> float | None:
        """The longest that a training may run, in seconds."""
        return None if self.trial_timeout is None else parse_duration("--trial-timeout", self.trial_timeout)


def parse_share(flag: str, text: str | None) -> float | Literal["auto"] | None:
    """A number, or auto.

    Raises:
        InputError: anything else.
    """
    if text == "auto":
        return "auto"
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InputError(f"{flag} {text}: it must be a number such as 0.25, or auto") from None


def parse_duration(flag: str, text: str) -> float:
    """Seconds of a duration such as 90s, 30m, 1.5h or 1h30m.

    Raises:
        InputError: anything else, or nothing at all.
    """
    if not re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        raise InputError(f"{flag} {text}: a duration looks like 90s, 30m or 1h30m")
    unit_s = {"h": 3600.0, "m": 60.0, "s": 1.0}
    seconds = sum(float(number) * unit_s[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))
    if seconds <= 0:
        raise InputError(f"{flag} {text}: it must be longer than nothing")
    return seconds


def at_least(flag: str, value: float | None, least: float) -> None:
    """Raise InputError for a value below the least one."""
    if value is not None and not value >= least:
        raise InputError(f"{flag} {value}: it must be at least {least}")


def one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InputError for a value that is none of the choices."""
    if value not in choices:
        raise InputError(f"{flag} {value}: it must be one of {', '.join(choices)}")


def study_name(space: str, started: str) -> str:
    """A folder name from a space's name and a start in ISO format."""
    return f"{Path(space).stem}-{re.sub(r'[^0-9]', '', started)[:14]}"


def _parse_class_names(text: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not (label and equals and name):
            raise InputError(f"--class-names {text}: {part!r} is not LABEL=NAME")
        if label in names:
            raise InputError(f"--class-names {text}: the label {label!r} stands there twice")
        names[label] = name
    return names
