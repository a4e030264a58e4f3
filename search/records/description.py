"""The typed content of `study.json`: what a study asks, plans and has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from search.common.errors import InputError
from search.data.names import is_drawn
from search.records.arguments import Arguments
from search.space import Profile


@dataclass(frozen=True, kw_only=True)
class PlannedPhase:
    """The most that a phase trains.

    Attributes:
        trainings: number of trainings, each over `epochs` / `trainings` epochs on average.
        cost: in multiply-accumulates of forward passes, see `search.training.cost.image_cost`.
        most: level -> its part of the cost; empty in older studies.
        likely: share of the cost that is expected to be needed, by a guess before the study.
    """

    name: str
    trainings: int
    epochs: int
    cost: float
    most: dict[str, float] = field(default_factory=dict)
    likely: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study does.

    Attributes:
        n_trials: trials over all levels; a multiple of the number of levels.
        search_folds: folds that a trial is scored on.
        shares_settings: every setting is tried at every level; False in older studies.
        finalists: trials of each level that are confirmed; 1 (also the default of older studies) confirms none.
        compare_settings: settings that the levels are compared at, at most; 0 in older studies, which compared
            levels at their own best settings, and all at settings that they share.
        control: the comparison holds the reference twice.
        folds: of one partition of the comparison and the transfer.
        repeats: of the transfer, and of the comparison at every setting.
        most_runs: runs of the comparison, at most.
        looks: runs of the comparison at each time that it is looked at to see whether it is settled; the last
            look is after `most_runs`.
        costs: level -> cost of training its largest network on one image for all epochs; empty in older studies.
        phases: in order, each at its worst case: no trial stopped early, every level at its largest network.
    """

    profile_name: Literal["quick", "paper"]
    profile: Profile
    n_trials: int
    search_folds: int
    shares_settings: bool = False
    finalists: int = 1
    compare_settings: int = 0
    control: bool = False
    folds: int
    repeats: int
    most_runs: int = 1
    looks: tuple[int, ...] = (1,)
    costs: dict[str, float] = field(default_factory=dict)
    phases: tuple[PlannedPhase, ...]

    @property
    def cost(self) -> float:
        """Cost of all phases."""
        return sum(phase.cost for phase in self.phases)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set of a study.

    Attributes:
        classes: images per class.
        role: what the study does with it; None in older studies, which have a source and perhaps a target.
        grouped: groups were given, and no split divides one.
        notes: printed when the data were read.
    """

    fingerprint: str
    n_images: int
    classes: dict[str, int]
    role: Literal["source", "target", "shift", "report"] | None = None
    grouped: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The software and machine that a study started on."""

    python: str = ""
    platform: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Description:
    """A study, finished or not; an entry that an older study lacks has its default.

    Attributes:
        widths: of the family's networks in the space; None in older studies, all of whose networks had the
            profile's width.
        sides_px: of the inputs of all networks in the space; None in older studies.
        data: name -> data set; the source first, then the target and further laboratories, if there are any.
        effects: that the space asks about, name -> the levels that have it.
        origin: digests of the space's file (`space`) and of the code (`code`), and versions of libraries.
        started, finished: ISO 8601, UTC; `finished` is None until the study is finished.
        commands: command lines that ran the study.
        forced: changes since the start that --force accepted.
        looked_at: runs of the comparison at each time that it was looked at.
        beyond_plan: the study was extended after it had been looked at for the last time that it planned, so the
            error rate of its intervals is no longer guaranteed.
        estimators: level -> how its classifier of measured features is made, see `search.training.rebuild`.
        recommendation: see `search.analysis.recommendation`.
        winner: level, setting and parameters of the network that was scored on the test set.
        test: its scores there, by metric.
        test_scored: how often the test set was scored.
        time: seconds by what they were spent on, see `search.records.timing`.
    """

    arguments: Arguments
    question: str
    factor: str | None
    levels: tuple[str, ...]
    reference: str
    effects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    widths: tuple[float, ...] | None = None
    sides_px: tuple[int, ...] | None = None
    plan: Plan
    origin: dict[str, str]
    data: dict[str, DataSet]
    started: str
    phases_done: tuple[str, ...]
    environment: Environment = Environment()
    finished: str | None = None
    commands: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    looked_at: tuple[int, ...] = ()
    beyond_plan: bool = False
    estimators: dict[str, dict[str, Any]] = field(default_factory=dict)
    recommendation: dict[str, Any] | None = None
    winner: dict[str, Any] | None = None
    test: dict[str, float] | None = None
    test_scored: int = 1
    time: dict[str, float] | None = None

    @property
    def metric(self) -> str:
        """The metric that the study searches for."""
        return self.arguments.metric

    @property
    def used_widths(self) -> tuple[float, ...]:
        """Widths of the family's networks in the space; empty where there are none."""
        return (self.plan.profile.width,) if self.widths is None else self.widths

    @property
    def networks(self) -> str:
        """Widths, sides and training of the networks, as in a sentence."""
        profile = self.plan.profile
        width = [f"{_or(self.used_widths)} times the paper's width"] if self.used_widths else []
        return ", ".join([*width, f"{_or(self.sides_px or profile.input_px)} px", profile.training])

    @property
    def is_older(self) -> bool:
        """Whether the study compared tuned and equal settings, as earlier versions did."""
        return self.plan.compare_settings == 0

    @property
    def source(self) -> tuple[str, DataSet]:
        """Name and facts of the data set of search and comparison."""
        return next(iter(self.data.items()))

    @property
    def target(self) -> tuple[str, DataSet] | None:
        """Name and facts of the data set of the transfer, if any."""
        others = list(self.data.items())[1:]
        return next(((name, data) for name, data in others if data.role in (None, "target")), None)

    @property
    def reports(self) -> dict[str, DataSet]:
        """Name and facts of further laboratories that networks are scored on as they are."""
        return {name: data for name, data in self.data.items() if data.role == "report"}

    @property
    def is_drawn(self) -> bool:
        """Whether any of the images are synthetic."""
        return any(map(is_drawn, self.data))


def _or(values: Sequence[float]) -> str:
    return " or ".join(f"{value:g}" for value in values)


def parse_description(content: Mapping[str, Any], file: Path) -> Description:
    """Check and type the content of a `study.json`.

    Args:
        content: parsed JSON; unknown entries are ignored.
        file: that it comes from, for the error message.
    Raises:
        InputError: an entry is missing or of the wrong type; names the file and the entry.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.3 s that the start of a study need not wait for

    try:
        return TypeAdapter(Description).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{file}: not the description of a study: {entry}: {first['msg']}") from error
    except InputError as error:  # of the arguments
        raise InputError(f"{file}: {error}") from error
