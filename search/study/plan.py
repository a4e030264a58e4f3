"""The plan of a study, and its maximum cost, before anything is trained.

The plan depends only on the space, the arguments and the number of images, never on a measured speed, so that the
same command plans the same study every time.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from search.common.clock import Clock
from search.common.errors import InputError
from search.data.splits import TEST_SHARE
from search.records.description import Plan, PlannedPhase
from search.records.schema import Phase
from search.space import (
    CONTROL_LEVEL,
    PAPER_LEVELS,
    Configuration,
    FixedSuggester,
    Profile,
    Space,
    TrainingConfig,
    sample,
)
from search.training.cost import frozen_cost, image_cost, scoring_cost, training_cost
from wbcmodels.config import PAPER_WBCSNET, PAPER_WBCSNET2, ModelConfig

# The paper gives SGD, 40 epochs, mini-batches of 32 and an initial learning rate of 0.001; MATLAB's `sgdm` keeps
# that rate by default.
PAPER_TRAINING = TrainingConfig(epochs=40, lr=0.001, schedule="constant")

# One core of a Sapphire Rapids alone does 1.0e11 of that cost per second; two at once do less than twice as much.
# The winner scores the target as it is, adapts to it, and scores it again.
UNTOUCHED_PASSES = 3
QUICK_COST_PER_S = 1.7e11
QUICK_S = {"synthetic": 250.0, "own": 2900.0}
SAMPLES = 40
# The level of the network that is tested and transferred, before it is known.
WINNER = "winner"
# Of the cost of a search that is raced, a guess.
UNRACED_SHARE = 0.75
# A study over the estimate from its probe, which runs while images are decoded.
FASTEST, SLOWEST = 0.7, 1.3
# Before the first training, and after the last: tables, figures and page.
START_S, PAGE_S = 5.0, 22.0
# Scores of a setting in the search, over levels and folds, and folds of the partition that they come from.
LEAST_BLOCKS, LEAST_PARTITION = 8, 5
# Journal and Parquet together: 121 and 158 per prediction, 220 and 277 per epoch in two studies of five classes.
BYTES_PER_PREDICTION, BYTES_PER_EPOCH = 160, 280


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a plan is made for; None leaves a value to the profile.

    Attributes:
        n_classes: of the source.
        n_target: number of target images; None without a transfer.
        n_shifted: number of images that every trial is scored on besides.
        n_reported: number of images of further laboratories.
        most_runs: of the comparison; None repeats every kept setting `repeats` times.
        profile: of a resumed study; None chooses one.
    """

    profile_name: Literal["quick", "paper"]
    synthetic: bool
    n_images: int
    n_classes: int
    n_target: int | None
    n_trials: int | None
    search_folds: int | None
    finalists: int | None
    compare_settings: int
    folds: int
    repeats: int
    most_runs: int | None
    control: bool
    profile: Profile | None = None
    n_shifted: int = 0
    n_reported: int = 0


def make_plan(space: Space, request: Request) -> Plan:
    """Plan a study, with the first quick profile whose worst case fits into its time, else with the last."""
    if request.profile is not None:
        return _plan(space, request.profile, request)
    if request.profile_name == "paper":
        return _plan(space, space.paper, request)
    budget = QUICK_S["synthetic" if request.synthetic else "own"] * QUICK_COST_PER_S
    # Runs until the comparison is settled are asked for in spite of their time.
    first_look = replace(request, most_runs=None)
    fitting = (profile for profile in space.quick if _plan(space, profile, first_look).cost <= budget)
    return _plan(space, next(fitting, space.quick[-1]), request)


def paper_configuration(level: str, profile: Profile) -> Configuration:
    """One of PAPER_LEVELS at a profile's width, epochs and largest input."""
    network = {"paper_plain": PAPER_WBCSNET, "paper_wbcsnet2": PAPER_WBCSNET2}[level]
    return Configuration(
        model=replace(network, width=profile.width, input_px=max(profile.input_px)),
        training=replace(PAPER_TRAINING, epochs=profile.epochs),
    )


def level_configuration(space: Space, level: str, profile: Profile, params: dict[str, object]) -> Configuration:
    """The configuration with the given parameters at a level.

    Raises:
        KeyError: the level needs a parameter that is not given.
    """
    if level in PAPER_LEVELS:
        return paper_configuration(level, profile)
    return space.configure(FixedSuggester(params), level, profile)


def for_transfer(configuration: Configuration, profile: Profile) -> Configuration:
    """The configuration with the number of epochs for the target."""
    if configuration.is_fitted_at_once:
        return configuration
    return replace(configuration, training=replace(configuration.training, epochs=profile.transfer_epochs))


def input_sides(space: Space, profile: Profile) -> tuple[int, ...]:
    """Every input side, in px, that a study of this profile can use, ascending."""
    sides = set(profile.input_px)
    for level in space.levels:
        sides |= {configuration.model.input_px for configuration in candidates(space, level, profile)}
    return tuple(sorted(sides))


def widths(space: Space, profile: Profile) -> tuple[float, ...]:
    """Every width of the family's networks, see `ModelConfig.width`, that a study of this profile can use."""
    models = (c.model for level in space.levels for c in candidates(space, level, profile))
    return tuple(sorted({model.width for model in models if isinstance(model, ModelConfig)}))


def _plan(space: Space, profile: Profile, request: Request) -> Plan:
    n_levels, shared = len(space.levels), space.shares_settings
    wanted = request.n_trials or n_levels * (profile.settings if shared else profile.trials_per_level)
    n_settings = math.ceil(wanted / n_levels)
    search_folds = request.search_folds or (math.ceil(LEAST_BLOCKS / n_levels) if shared else profile.search_folds)
    _check_request(request, shared=shared)
    finalists = 1 if shared else min(request.finalists or profile.finalists, n_settings)
    compare_settings = min(request.compare_settings, n_settings)
    most_runs = request.most_runs or compare_settings * request.repeats
    looks = (most_runs,) if request.most_runs is None else _looks(most_runs, compare_settings)
    development, n_classes = request.n_images * (1 - TEST_SHARE), request.n_classes
    paper = {level: paper_configuration(level, profile) for level in space.paper_levels}
    largest = {level: _largest(space, level, profile, n_classes) for level in space.levels}
    # A typical network of a level costs less than its largest.
    usual = _usual_share(space, profile, n_classes, largest)
    winner = max(largest.values(), key=lambda c: training_cost(c, n_classes, 1, 0))
    tested = {WINNER: winner, **paper} if request.n_target else {WINNER: winner}

    def cross_validated(
        name: str,
        networks: Mapping[str, Configuration],
        n: float,
        folds: int,
        splits: int,
        elsewhere: int = 0,
        likely: float = 1.0,
        cost_of: Callable[[Configuration, int, float, float], float] = training_cost,
    ) -> PlannedPhase:
        most = {
            level: splits
            * (cost_of(c, n_classes, n * (folds - 1) / folds, n / folds) + scoring_cost(c, n_classes, elsewhere))
            for level, c in networks.items()
        }
        return PlannedPhase(
            name=name,
            trainings=splits * len(networks),
            epochs=splits * sum(c.training.epochs for c in networks.values()),
            cost=sum(most.values()),
            most=most,
            likely=likely,
        )

    partition = search_partition(search_folds, shared=shared)
    splits = search_folds * n_settings
    phases = [
        cross_validated(
            Phase.SEARCH,
            largest,
            development,
            partition,
            splits,
            elsewhere=request.n_shifted,
            likely=usual * UNRACED_SHARE,
        )
    ]
    if finalists > 1:
        confirmed = search_folds * finalists
        phases.append(cross_validated(Phase.CONFIRM, largest, development, search_folds, confirmed, likely=usual))
    if request.control and space.reference not in space.levels:
        raise InputError(f"--control: the reference {space.reference} is no level of this space")
    control = {CONTROL_LEVEL: largest[space.reference]} if request.control else {}
    folds, n_target = request.folds, request.n_target or 0
    elsewhere = n_target + request.n_reported
    runs = cross_validated(
        Phase.COMPARE, largest | control, development, folds, folds * most_runs, elsewhere=elsewhere, likely=usual
    )
    beside = cross_validated(Phase.COMPARE, paper, development, folds, folds, elsewhere=elsewhere)
    phases.append(_sum(runs, beside))
    most = {level: training_cost(c, n_classes, development, 0) for level, c in tested.items()}
    most[WINNER] += scoring_cost(winner, n_classes, UNTOUCHED_PASSES * n_target)
    test = PlannedPhase(
        name=Phase.TEST,
        trainings=len(tested),
        epochs=sum(c.training.epochs for c in tested.values()),
        cost=sum(most.values()),
        most=most,
        likely=usual,
    )
    phases.append(test)
    if request.n_target:
        networks = {level: for_transfer(configuration, profile) for level, configuration in tested.items()}
        splits = request.folds * request.repeats
        ways = [
            cross_validated(Phase.TRANSFER, networks, n_target, folds, splits, likely=usual, cost_of=cost_of)
            for cost_of in (training_cost, frozen_cost, training_cost)  # from scratch, frozen, fine-tuned
        ]
        phases.append(reduce(_sum, ways))
    return Plan(
        profile_name=request.profile_name,
        profile=profile,
        n_trials=n_levels * n_settings,
        search_folds=search_folds,
        shares_settings=shared,
        finalists=finalists,
        compare_settings=compare_settings,
        control=request.control,
        folds=request.folds,
        repeats=request.repeats,
        most_runs=most_runs,
        looks=looks,
        costs={level: training_cost(configuration, n_classes, 1, 0) for level, configuration in largest.items()},
        phases=tuple(phases),
    )


def search_partition(search_folds: int, *, shared: bool) -> int:
    """Folds of the partition that the search takes its folds from; with shared settings it may need only one."""
    return max(LEAST_PARTITION, search_folds) if shared else search_folds


def _check_request(request: Request, *, shared: bool) -> None:
    if shared and (request.finalists or 1) > 1:
        raise InputError(f"--finalists {request.finalists}: only for spaces whose levels have their own settings")
    if not shared and request.search_folds == 1:
        raise InputError("--search-folds 1: must be at least 2 where levels have their own settings")


def _looks(most_runs: int, compare_settings: int) -> tuple[int, ...]:
    """Runs at each look: after every kept setting has had as many runs as the others, and at the end."""
    return tuple(dict.fromkeys([*range(compare_settings, most_runs + 1, compare_settings), most_runs]))


def _sum(a: PlannedPhase, b: PlannedPhase) -> PlannedPhase:
    return replace(
        a,
        trainings=a.trainings + b.trainings,
        epochs=a.epochs + b.epochs,
        cost=a.cost + b.cost,
        most={level: a.most.get(level, 0.0) + b.most.get(level, 0.0) for level in {**a.most, **b.most}},
    )


def _largest(space: Space, level: str, profile: Profile, n_classes: int) -> Configuration:
    """The most expensive of many configurations of a level."""
    return max(candidates(space, level, profile), key=lambda c: training_cost(c, n_classes, 1, 0))


def _usual_share(space: Space, profile: Profile, n_classes: int, largest: Mapping[str, Configuration]) -> float:
    """Mean cost of a configuration over that of the largest of its level, over all levels."""
    mean = sum(
        statistics.fmean(training_cost(c, n_classes, 1, 0) for c in candidates(space, level, profile))
        for level in space.levels
    )
    return mean / sum(training_cost(c, n_classes, 1, 0) for c in largest.values())


def clock_of(plan: Plan, speeds: Mapping[str, float] | None = None) -> Clock:
    """A clock for all phases of a plan, and the page after them.

    Args:
        speeds: level -> cost per second of one training, as probed.
    """
    planned = {phase.name: phase.most or {"": phase.cost} for phase in plan.phases}
    return Clock(planned, {phase.name: phase.likely for phase in plan.phases}, speeds, after_s=PAGE_S)


def costs_after_comparison(
    plan: Plan, compared: Sequence[tuple[str, Configuration]], n_classes: int
) -> dict[str, dict[str, float]]:
    """What the phases that train the winner are expected to cost, before it is known.

    Args:
        compared: levels with their configurations, of which any may win.
    Returns:
        phase -> level -> cost.
    """
    most = max(plan.costs.values()) * len(compared)
    found = {}
    for phase in plan.phases:
        if WINNER in phase.most:
            costs = defaultdict(float, phase.most)
            of_winner = costs.pop(WINNER)
            for level, configuration in compared:
                costs[level] += of_winner * training_cost(configuration, n_classes, 1, 0) / most
            found[phase.name] = dict(costs)
    return found


def estimate_s(plan: Plan, speeds: Mapping[str, float], slots: int) -> tuple[float, float]:
    """The range that a study's duration is expected in, in seconds.

    Args:
        speeds: level -> cost per second of one slot.
        slots: trainings at once.
    """
    mean = statistics.fmean(speeds.values())
    most = [
        (phase.likely, sum(cost / speeds.get(level, mean) for level, cost in phase.most.items()))
        for phase in plan.phases
    ]
    least = sum(likely * seconds for likely, seconds in most)
    around_s = START_S + PAGE_S
    whole = sum(seconds for _, seconds in most)
    return FASTEST * least / slots + around_s, SLOWEST * whole / slots + around_s


def candidates(space: Space, level: str, profile: Profile) -> Iterator[Configuration]:
    """Many configurations of a level, drawn at random, and its first points."""
    yield from sample(space, level, profile, SAMPLES)
    for params in space.first_points(level, profile):
        yield space.configure(FixedSuggester(params), level, profile)


def typical_configuration(space: Space, profile: Profile, n_classes: int) -> Configuration:
    """The configuration of median cost among samples of all levels."""
    everyone = [c for level in space.levels for c in candidates(space, level, profile)]
    return sorted(everyone, key=lambda c: image_cost(c, n_classes))[len(everyone) // 2]


def largest_configurations(space: Space, profile: Profile, n_classes: int) -> dict[str, Configuration]:
    """The most expensive configuration of each level and of each of the paper's networks."""
    own = {level: _largest(space, level, profile, n_classes) for level in space.levels}
    return own | {level: paper_configuration(level, profile) for level in space.paper_levels}


def disk_mb(plan: Plan, request: Request) -> float:
    """A rough size of the study's folder in MB; nearly all of it is predictions."""
    development = request.n_images * (1 - TEST_SHARE)
    partition = search_partition(plan.search_folds, shared=plan.shares_settings)
    cross_validated = {"search": development / partition, "compare": development / plan.folds}
    cross_validated["confirm"] = development / plan.search_folds
    cross_validated["transfer"] = (request.n_target or 0) / plan.folds
    cross_validated["compare"] += (
        request.n_target or 0
    ) + request.n_reported  # which every network scores as it is
    rows = sum(phase.trainings * cross_validated.get(phase.name, 0) for phase in plan.phases)
    return (rows * BYTES_PER_PREDICTION + sum(phase.epochs for phase in plan.phases) * BYTES_PER_EPOCH) / 1e6
