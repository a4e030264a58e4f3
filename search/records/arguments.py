"""The arguments of a study and the resources it may use, which are also the options of `search.run`."""

import re
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import Group, Parameter

from search.common.commandline import did_you_mean
from search.common.errors import InputError
from search.data.catalogue import is_path
from search.data.layout import parse_layout
from search.data.reading import Reading, parse_class_names

Metric = Literal["balanced_accuracy", "accuracy", "macro_f1", "auc"]
Sampler = Literal["tpe", "random", "cmaes", "gp", "nsga2"]
Pruner = Literal["race", "asha", "none"]
Log = Literal["tensorboard", "mlflow", "wandb"]  # also the names of packages and extras

# Fields of `search.common.metrics.Metrics` that a search can maximize.
SCORES: tuple[Metric, ...] = get_args(Metric)
# Those that a comparison can judge by: no interval of the AUC is shown to hold.
METRICS = tuple(name for name in SCORES if name != "auc")
# With --shift-data: the mean balanced accuracy on laboratories that no training sees.
SHIFT_SCORE = "shift_balanced_accuracy"
# What it can minimize besides.
COSTS = ("macs", "n_parameters")
# Of every kept setting, where a time limits the comparison.
MOST_REPEATS = 8
LOGS: tuple[Log, ...] = get_args(Log)

DATA = Parameter(group=Group("Data", sort_key=1))
SEARCH = Parameter(group=Group("Search", sort_key=2))
COMPARISON = Parameter(group=Group("Comparison", sort_key=3))
RESOURCES = Parameter(group=Group("Resources", sort_key=4))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What a study is, as recorded in `study.json`.

    Raises:
        InputError: a value is not allowed; names the option and the value.
    """

    data: Annotated[str, DATA] = "synthetic"
    """Images: a folder such as my_cells, an .npz file, a URL, pbc, lisc, bccd, jtsc, raabin or bloodmnist."""
    transfer_data: Annotated[str | None, DATA] = None
    """Images to transfer to: as --data, or none; by default synthetic if --data is, else none."""
    data_dir: Annotated[str | None, DATA] = None
    """Folder where published and remote data sets are kept, such as ~/cells; by default in your cache folder."""
    shift_data: Annotated[str | None, DATA] = None
    """Folders of laboratories that no training sees, such as A,B, for shift_balanced_accuracy."""
    shift_report: Annotated[str | None, DATA] = None
    """Folders of laboratories to score the comparison's networks on, such as A,B; nothing is chosen by them."""
    class_names: Annotated[str | None, DATA] = None
    """Class names by label, such as 1=neutrophil,2=lymphocyte; by default the labels themselves."""
    layout: Annotated[str | None, DATA] = None
    """What each folder level is: class, split/class, patient/*/class, table or split/table; by default found."""
    image_column: Annotated[str | None, DATA] = None
    """Column of the table that names the images, such as file; by default found."""
    label_column: Annotated[str | None, DATA] = None
    """Column of the table that holds the labels, such as cell_type; by default found."""
    groups: Annotated[str | None, DATA] = None
    """What no fold may separate: a column, a folder level, a CSV file, or a pattern such as '^([0-9]+)_'."""
    split_column: Annotated[str | None, DATA] = None
    """Column of each image's part, such as split, with train, val and test, or with the comparison's folds."""
    folds_by: Annotated[str | None, DATA] = None
    """Column or folder level whose values are the comparison's folds, such as laboratory; replaces --folds."""
    exclude: Annotated[str | None, DATA] = None
    """Images to leave out, as a shell pattern such as '*_mask.png'."""
    transfer_layout: Annotated[str | None, DATA] = None
    """As --layout, for the transfer data."""
    transfer_groups: Annotated[str | None, DATA] = None
    """As --groups, for the transfer data."""
    skip_bad: Annotated[bool, DATA] = False
    """Leave out images that cannot be read, or that contradict each other."""

    space: Annotated[str, SEARCH] = "residual_placement"
    """Space to search: ablation, comparators, residual_placement, shift, wbcsnet2, or a file, my_space.py."""
    profile: Annotated[Literal["auto", "quick", "paper"], SEARCH] = "auto"
    """Size of networks and trainings; auto is quick for synthetic data or without a GPU, else paper."""
    trials: Annotated[int | None, SEARCH] = None
    """Number of trials over all levels, such as 64; by default as the profile says."""
    time_budget: Annotated[str | None, SEARCH] = None
    """Time after which the search starts no more trials, such as 90s, 30m or 1h30m; by default unlimited."""
    search_folds: Annotated[int | None, SEARCH] = None
    """Number of folds that score a trial, such as 3; by default enough for eight scores of a setting."""
    metric: Annotated[Metric, SEARCH] = "balanced_accuracy"
    """Metric to maximize and to compare levels by."""
    objectives: Annotated[str | None, SEARCH] = None
    """Objectives of the search, --metric first, such as balanced_accuracy,macs; by default --metric alone."""
    sampler: Annotated[Sampler, SEARCH] = "tpe"
    """Optuna sampler that proposes settings."""
    pruner: Annotated[Pruner, SEARCH] = "race"
    """What stops trials early: racing over folds, successive halving (asha), or nothing."""
    finalists: Annotated[int | None, SEARCH] = None
    """Best trials of each level to confirm on new folds, where levels have their own settings; 1 confirms none."""

    compare_settings: Annotated[int, COMPARISON] = 2
    """Number of best settings to compare all levels at."""
    folds: Annotated[int, COMPARISON] = 10
    """Number of folds of the comparison and the transfer, at least 2."""
    repeats: Annotated[int, COMPARISON] = 1
    """Number of times to repeat the comparison, at every kept setting, and the transfer on new folds."""
    until_settled: Annotated[str | None, COMPARISON] = None
    """Repeat the comparison until nothing is open: at most this many runs, such as 4, or this long, such as 2h."""
    margin: Annotated[float, COMPARISON] = 1.0
    """Largest difference, in points, that counts as practically the same."""
    control: Annotated[bool, COMPARISON] = False
    """Compare the reference with itself, trained from other seeds, as a negative control."""
    seed: Annotated[int, COMPARISON] = 0
    """Seed of everything that is drawn."""

    def __post_init__(self) -> None:
        """Check every value."""
        for flag, given in (("--shift-data", self.shift_data), ("--shift-report", self.shift_report)):
            if not all(_folders(given)):
                raise InputError(f"{flag} {given}: must be folders, separated by commas")
        for folder in {*self.shifted_data} & {*self.reported_data}:
            raise InputError(f"--shift-report {folder}: is in --shift-data too, which settings are chosen by")
        at_least("--trials", self.trials, 1)
        at_least("--search-folds", self.search_folds, 1)
        at_least("--finalists", self.finalists, 1)
        at_least("--folds", self.folds, 2)
        at_least("--repeats", self.repeats, 1)
        at_least("--compare-settings", self.compare_settings, 1)
        if not 0 < self.margin < 100:
            raise InputError(f"--margin {self.margin}: must be a number of points between 0 and 100")
        at_least("--seed", self.seed, 0)
        one_of("--profile", self.profile, ("auto", "quick", "paper"))
        one_of("--metric", self.metric, SCORES)
        if self.metric not in METRICS:
            raise InputError(
                f"--metric {self.metric}: levels cannot be compared by it, because no interval for it is shown to "
                f"hold; search for it with --objectives balanced_accuracy,{self.metric}"
            )
        one_of("--sampler", self.sampler, get_args(Sampler))
        one_of("--pruner", self.pruner, get_args(Pruner))
        for layout in (self.layout, self.transfer_layout):
            if layout is not None:
                parse_layout(layout)
        if self.until_settled is not None and self.repeats > 1:
            raise InputError(f"--until-settled {self.until_settled}: not allowed with --repeats {self.repeats}")
        _ = self.time_budget_s, self.class_name_of, self.objective_names, self.most_runs, self.settling_budget_s

    @property
    def target_data(self) -> str:
        """The transfer data, given or by default."""
        return self.transfer_data or ("synthetic" if self.data == "synthetic" else "none")

    @property
    def shifted_data(self) -> tuple[str, ...]:
        """Folders of the laboratories that every trial is scored on."""
        return _folders(self.shift_data)

    @property
    def reported_data(self) -> tuple[str, ...]:
        """Folders of the laboratories that are scored and never chosen by."""
        return _folders(self.shift_report)

    @property
    def time_budget_s(self) -> float | None:
        """The time budget in seconds."""
        return None if self.time_budget is None else parse_duration("--time-budget", self.time_budget)

    @property
    def most_runs(self) -> int:
        """The most runs of the comparison.

        Raises:
            InputError: fewer than the compared settings, which are one run each.
        """
        n = self.compare_settings
        if self.until_settled is None:
            return n * self.repeats
        if not self.until_settled.isdecimal():
            return n * MOST_REPEATS
        if int(self.until_settled) < n:
            raise InputError(f"--until-settled {self.until_settled}: must be at least --compare-settings, {n}")
        return int(self.until_settled)

    @property
    def settling_budget_s(self) -> float | None:
        """The time for further runs in seconds, if --until-settled gives one."""
        text = self.until_settled
        return None if text is None or text.isdecimal() else parse_duration("--until-settled", text)

    @property
    def objective_names(self) -> tuple[str, ...]:
        """The objectives, the metric first."""
        if self.objectives is None:
            return (self.metric,)
        names = tuple(name.strip() for name in self.objectives.split(","))
        for name in names:
            one_of("--objectives", name, (*SCORES, SHIFT_SCORE, *COSTS))
            if name == SHIFT_SCORE and self.shift_data is None:
                raise InputError(f"--objectives {self.objectives}: {SHIFT_SCORE} needs --shift-data")
        if names[0] != self.metric:
            raise InputError(f"--objectives {self.objectives}: the first must be --metric, {self.metric}")
        if len(set(names)) < len(names):
            raise InputError(f"--objectives {self.objectives}: lists an objective twice")
        return names

    @property
    def class_name_of(self) -> dict[str, str] | None:
        """The class names by label."""
        return None if self.class_names is None else parse_class_names(self.class_names)

    @property
    def reading(self) -> Reading:
        """How the data are read."""
        return Reading(
            layout=self.layout,
            image_column=self.image_column,
            label_column=self.label_column,
            split_column=self.split_column,
            folds_by=self.folds_by,
            groups=self.groups,
            class_names=self.class_name_of,
            exclude=self.exclude,
        )

    @property
    def target_reading(self) -> Reading:
        """How the transfer data are read."""
        return Reading(layout=self.transfer_layout, groups=self.transfer_groups, class_names=self.class_name_of)

    def recorded(self) -> dict[str, Any]:
        """The arguments by name for `study.json`; their paths are absolute, so that any folder can resume it."""
        values = asdict(self) | {"transfer_data": self.target_data}
        paths = [name for name in ("data", "transfer_data") if values[name] not in ("synthetic", "none")]
        paths = [name for name in paths if is_path(values[name])]
        if self.data_dir is not None:
            paths.append("data_dir")
        paths += [name for name in ("groups", "transfer_groups") if str(values[name]).lower().endswith(".csv")]
        if self.space.endswith(".py"):
            paths.append("space")
        for name in ("shift_data", "shift_report"):
            given = (str(Path(each).absolute()) if is_path(each) else each for each in _folders(values[name]))
            values[name] = ",".join(given) or None
        return values | {name: str(Path(values[name]).absolute()) for name in paths}


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What may be given to a resumed study: new totals, if it is to do more, and where its files are now.

    None keeps what the study has.
    """

    trials: int | None = None
    repeats: int | None = None
    until_settled: str | None = None
    space: str | None = None
    data: str | None = None
    data_dir: str | None = None
    groups: str | None = None
    transfer_data: str | None = None
    transfer_groups: str | None = None
    shift_data: str | None = None
    shift_report: str | None = None


TOTALS = ("trials", "repeats", "until_settled")
PLACES = tuple(field.name for field in fields(Extension) if field.name not in TOTALS)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a study may use. It affects results only through the order in which parallel trials end.

    Raises:
        InputError: a value is not allowed, or an extra is not installed; names the option and the value.
    """

    gpus_per_trial: Annotated[float | Literal["auto"] | None, RESOURCES] = None
    """Share of a GPU for each training, such as 0.5, or auto for the fastest; by default 0.25 on a GPU."""
    cpus_per_trial: Annotated[int, RESOURCES] = 1
    """Number of CPUs and threads for each training."""
    max_concurrent: Annotated[int | None, RESOURCES] = None
    """Most trainings at once, such as 4; by default as many as the machine has room for."""
    address: Annotated[str | None, RESOURCES] = None
    """Address of a running Ray cluster, such as 10.0.0.1:6379, or auto; by default a local Ray is started."""
    trial_timeout: Annotated[str | None, RESOURCES] = None
    """Time after which a trial or a training fails, such as 30m; by default unlimited."""
    log_to: Annotated[Log | None, RESOURCES] = None
    """Also log trainings live to TensorBoard, MLflow or Weights & Biases; each needs its extra."""
    profile_trace: Annotated[bool, RESOURCES] = False
    """Trace one epoch of the first trial with torch's profiler to trace.json.gz; slows that epoch down."""

    def __post_init__(self) -> None:
        """Check every value."""
        if self.gpus_per_trial != "auto":
            at_least("--gpus-per-trial", self.gpus_per_trial, 0)
        at_least("--cpus-per-trial", self.cpus_per_trial, 1)
        at_least("--max-concurrent", self.max_concurrent, 1)
        _ = self.trial_timeout_s
        if self.log_to is not None:
            one_of("--log-to", self.log_to, LOGS)
            if find_spec(self.log_to) is None:
                raise InputError(
                    f"--log-to {self.log_to}: not installed; run pip install 'wbc-search[{self.log_to}]'"
                )

    @property
    def trial_timeout_s(self) -> float | None:
        """The trial timeout in seconds."""
        return None if self.trial_timeout is None else parse_duration("--trial-timeout", self.trial_timeout)


def parse_duration(flag: str, text: str) -> float:
    """Seconds of a duration such as 90s, 30m, 1.5h or 1h30m.

    Raises:
        InputError: not a duration, or zero.
    """
    if not re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        raise InputError(f"{flag} {text}: must be a duration such as 90s, 30m or 1h30m")
    unit_s = {"h": 3600.0, "m": 60.0, "s": 1.0}
    seconds = sum(float(number) * unit_s[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))
    if seconds <= 0:
        raise InputError(f"{flag} {text}: must be longer than zero")
    return seconds


def at_least(flag: str, value: float | None, least: float) -> None:
    """Raise InputError for a value below the least one."""
    if value is not None and not value >= least:
        raise InputError(f"{flag} {value}: must be at least {least}")


def one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InputError for a value that is not among the choices."""
    if value not in choices:
        raise InputError(f"{flag} {value}: must be one of {', '.join(choices)}{did_you_mean(value, choices)}")


def study_name(space: str, started: str) -> str:
    """A folder name made of a space's name and a time in ISO format."""
    return f"{Path(space).stem}-{re.sub(r'[^0-9]', '', started)[:14]}"


def _folders(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(name.strip() for name in text.split(","))
