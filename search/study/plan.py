"""The plan of a study, and its maximum cost, before anything is trained.

The plan depends only on the space, the arguments and the number of images, never on a measured speed, so that the
same command plans the same study every time.
"""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from search.common.errors import InputError
from search.data.splits import TEST_SHARE
from search.records.description import Plan, PlannedPhase
from search.records.schema import Phase
from search.space import CONTROL_LEVEL, Configuration, Profile, Space
from search.study.configurations import (
    dearest,
    for_transfer,
    largest_configuration,
    paper_configuration,
    sample_configurations,
)
from search.training.cost import frozen_cost, scoring_cost, training_cost

# One core of a Sapphire Rapids alone does 1.0e11 units of cost per second, see `search.training.cost`; two at once
# do less than twice as much.
QUICK_COST_PER_S = 1.7e11
# Longest time of a study's trainings; AdamW needs less than SGD.
QUICK_S = {"synthetic": 175.0, "own": 1600.0}
QUICK_SGD_S = {"synthetic": 250.0, "own": 2900.0}
# The winner scores the target as it is, adapts to it, and scores it again.
UNTOUCHED_PASSES = 3
# The level of the network that is tested and transferred, before it is known.
WINNER = "winner"
# Of the cost of a search that is raced, a guess.
UNRACED_SHARE = 0.75
# Scores of a setting in the search, over levels and folds, and folds of the partition that they come from.
LEAST_BLOCKS, LEAST_PARTITION = 8, 5


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
    # Runs until the comparison is settled are asked for in spite of their time.
    first_look = replace(request, most_runs=None)

    def fits(profile: Profile) -> bool:
        longest_s = QUICK_SGD_S if profile.optimizer == "sgd" else QUICK_S
        budget_s = longest_s["synthetic" if request.synthetic else "own"]
        return _plan(space, profile, first_look).cost <= budget_s * QUICK_COST_PER_S

    return _plan(space, next(filter(fits, space.quick), space.quick[-1]), request)


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
    largest = {level: largest_configuration(space, level, profile, n_classes) for level in space.levels}
    # A typical network of a level costs less than its largest.
    usual = _usual_share(space, profile, n_classes, largest)
    winner = dearest(largest.values(), n_classes)
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
        networks = {level: for_transfer(level, configuration, profile) for level, configuration in tested.items()}
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


def _usual_share(space: Space, profile: Profile, n_classes: int, largest: Mapping[str, Configuration]) -> float:
    """Mean cost of a configuration over that of the largest of its level, over all levels."""
    mean = sum(
        statistics.fmean(training_cost(c, n_classes, 1, 0) for c in sample_configurations(space, level, profile))
        for level in space.levels
    )
    return mean / sum(training_cost(c, n_classes, 1, 0) for c in largest.values())
