from dataclasses import replace

import pytest
from plans import NAMES, PLACEMENT, SPACES, request

from search.study.configurations import largest_configurations
from search.study.forecast import costs_after_comparison, disk_mb, estimate_s
from search.study.plan import make_plan

PLAN = make_plan(PLACEMENT, request(n_target=300))


def speeds(per_second, plan=PLAN):
    return dict.fromkeys([*PLACEMENT.levels, *PLACEMENT.paper_levels], per_second)


def test_the_range_holds_what_the_plan_costs_at_the_probed_speed():
    likely = sum(phase.likely * phase.cost for phase in PLAN.phases)
    least_s, most_s = estimate_s(PLAN, speeds(1e9), slots=2)
    assert least_s < likely / 1e9 / 2 < PLAN.cost / 1e9 / 2 < most_s


@pytest.mark.parametrize("faster", [(speeds(2e9), 1), (speeds(1e9), 2)])
def test_twice_the_speed_or_the_slots_takes_more_than_half_of_the_time(faster):
    slow, fast = estimate_s(PLAN, speeds(1e9), 1), estimate_s(PLAN, *faster)
    assert all(one / 2 < other < one for one, other in zip(slow, fast, strict=True))


def test_one_slow_level_takes_longer_than_its_share():
    mixed = speeds(1e9) | {"1+2+3": 1e8}
    assert estimate_s(PLAN, mixed, 1)[1] > estimate_s(PLAN, speeds(1e9), 1)[1]


def test_more_folds_and_more_laboratories_take_more_of_the_disk():
    asked = request(n_target=300)
    more = [replace(asked, folds=20), replace(asked, n_reported=1000), replace(asked, n_target=3000)]
    assert all(disk_mb(make_plan(PLACEMENT, each), each) > disk_mb(PLAN, asked) > 0 for each in more)


@pytest.mark.parametrize("name", NAMES)
def test_before_the_winner_is_known_any_level_may_be_trained_to_the_end(name):
    space = SPACES[name]
    plan = make_plan(space, request(n_target=300))
    largest = {
        level: c for level, c in largest_configurations(space, plan.profile, 5).items() if level in space.levels
    }
    dearest = max(plan.costs, key=plan.costs.__getitem__)
    phases = {phase.name: phase for phase in plan.phases}
    every = costs_after_comparison(plan, list(largest.items()), 5)
    assert set(every) == {"test", "transfer"}
    for name, costs in costs_after_comparison(plan, [(dearest, largest[dearest])], 5).items():
        assert sum(costs.values()) == pytest.approx(phases[name].cost)
        assert set(every[name]) == {*largest, *space.paper_levels}
        assert sum(every[name].values()) <= phases[name].cost * (1 + 1e-9)
