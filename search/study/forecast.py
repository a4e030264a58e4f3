"""Forecasts of a study's time, before and while it runs, and of its disk space."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from search.common.clock import Clock
from search.data.splits import TEST_SHARE
from search.records.description import Plan, PlannedPhase
from search.records.schema import Phase
from search.space import Configuration
from search.study.configurations import for_transfer
from search.study.plan import WINNER, Request, search_partition
from search.training.cost import training_cost

# A study over the estimate from its probe, which runs while images are decoded.
FASTEST, SLOWEST = 0.7, 1.3
# Before the first training, and after the last: tables, figures and page.
START_S, PAGE_S = 5.0, 19.0
# Journal and Parquet together: 121 and 158 per prediction, 220 and 277 per epoch in two studies of five classes.
BYTES_PER_PREDICTION, BYTES_PER_EPOCH = 160, 280


def estimate_s(plan: Plan, speeds: Mapping[str, float], slots: int) -> tuple[float, float]:
    """The range that a study's duration is expected in, in seconds.

    Args:
        speeds: level -> cost per second of one slot.
        slots: trainings at once.
    """
    mean = statistics.fmean(speeds.values())
    most = {
        phase.name: sum(cost / speeds.get(level, mean) for level, cost in phase.most.items())
        / _side_by_side(phase, slots)
        for phase in plan.phases
    }
    least_s = FASTEST * sum(phase.likely * most[phase.name] for phase in plan.phases)
    return least_s + START_S + PAGE_S, SLOWEST * sum(most.values()) + START_S + PAGE_S


def clock_of(plan: Plan, speeds: Mapping[str, float] | None = None, slots: int = 1) -> Clock:
    """A clock for all phases of a plan, and the page after them.

    Args:
        speeds: level -> cost per second of one training, as probed.
        slots: trainings at once.
    """
    planned = {phase.name: phase.most or {"": phase.cost} for phase in plan.phases}
    likely = {phase.name: phase.likely for phase in plan.phases}
    side_by_side = {phase.name: _side_by_side(phase, slots) for phase in plan.phases}
    return Clock(planned, likely, speeds, slots=side_by_side, after_s=PAGE_S)


def _side_by_side(phase: PlannedPhase, slots: int) -> int:
    """Trainings of a phase that run at once."""
    return min(slots, phase.trainings)


def costs_after_comparison(
    plan: Plan, possible: Sequence[tuple[str, Configuration]], planned: Configuration, n_classes: int
) -> dict[str, dict[str, float]]:
    """What the phases that train the winner are expected to cost, before they begin.

    Args:
        possible: levels with their configurations, each of which may be the winner.
        planned: the configuration that the plan counts with.
    Returns:
        phase -> level -> cost.
    """
    found = {}
    for phase in plan.phases:
        if WINNER in phase.most:
            costs = defaultdict(float, phase.most)
            of_each = costs.pop(WINNER) / _epochs_cost(WINNER, planned, phase, plan, n_classes) / len(possible)
            for level, configuration in possible:
                costs[level] += of_each * _epochs_cost(level, configuration, phase, plan, n_classes)
            found[phase.name] = dict(costs)
    return found


def _epochs_cost(
    level: str, configuration: Configuration, phase: PlannedPhase, plan: Plan, n_classes: int
) -> float:
    """Cost of all epochs of a phase on one image."""
    if phase.name == Phase.TRANSFER:
        configuration = for_transfer(level, configuration, plan.profile)
    return training_cost(configuration, n_classes, 1, 0)


def disk_mb(plan: Plan, request: Request) -> float:
    """A rough size of the study's folder in MB; nearly all of it is predictions."""
    development, n_target = request.n_images * (1 - TEST_SHARE), request.n_target or 0
    predicted = {
        Phase.SEARCH: development / search_partition(plan.search_folds, shared=plan.shares_settings),
        Phase.CONFIRM: development / plan.search_folds,
        # Every network scores the other laboratories as it is.
        Phase.COMPARE: development / plan.folds + n_target + request.n_reported,
        Phase.TRANSFER: n_target / plan.folds,
    }
    rows = sum(phase.trainings * predicted.get(Phase(phase.name), 0) for phase in plan.phases)
    return (rows * BYTES_PER_PREDICTION + sum(phase.epochs for phase in plan.phases) * BYTES_PER_EPOCH) / 1e6
