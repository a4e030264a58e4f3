from collections import defaultdict
from dataclasses import replace

import pytest
from local_study import draw, local_studies
from plans import NAMES, PLACEMENT, SPACES, request

from search.common.clock import Clock
from search.study.configurations import dearest, largest_configurations
from search.study.forecast import FASTEST, SLOWEST, clock_of, costs_after_comparison, disk_mb, estimate_s
from search.study.plan import make_plan

CLASSES = ("basophil", "eosinophil", "neutrophil")
PLAN = make_plan(PLACEMENT, request(n_target=300))


def speeds(per_second):
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
    planned = {phase.name: phase.cost for phase in plan.phases}
    largest = largest_configurations(space, plan.profile, 5)
    largest = {level: largest[level] for level in space.levels}
    most = dearest(largest.values(), 5)
    alone = costs_after_comparison(plan, [("it", most)], most, 5)
    assert set(alone) == {"test", "transfer"}
    for phase, costs in costs_after_comparison(plan, list(largest.items()), most, 5).items():
        assert sum(alone[phase].values()) == pytest.approx(planned[phase])
        assert set(costs) == {*largest, *space.paper_levels}
        assert sum(costs.values()) <= planned[phase] * (1 + 1e-9)


def test_the_clock_knows_what_the_winner_costs_before_it_is_trained(tmp_path_factory, monkeypatch):
    data = {"source": draw("own", CLASSES, 150, 0), "target": draw("others", CLASSES, 30, 1)}
    told = defaultdict(list)

    def noted(clock, phase, planned, expect=Clock.expect):
        told[phase].append(sum(planned.values()))
        expect(clock, phase, planned)

    monkeypatch.setattr(Clock, "expect", noted)
    with local_studies(tmp_path_factory, **data, folds=2) as make:
        make().run()
    for phase in ("test", "transfer"):
        before, after, begun = told[phase]
        assert before != pytest.approx(after)
        assert after == pytest.approx(begun, rel=0.1)


@pytest.mark.parametrize("slots", [1, 2, 3, 64])
def test_a_phase_uses_no_more_slots_than_it_has_trainings(slots):
    def cost(phase):
        return phase.likely * phase.cost / min(slots, phase.trainings)

    clock = clock_of(PLAN, slots=slots)
    for phase in ("search", "compare"):
        clock.finish(phase)
    done, left = sum(map(cost, PLAN.phases[:2])), sum(map(cost, PLAN.phases[2:]))
    assert [phase.name for phase in PLAN.phases[2:]] == ["test", "transfer"]
    assert clock.share == pytest.approx(done / (done + left))


def test_any_number_of_slots_takes_as_long_as_the_longest_trainings():
    (test,) = (phase for phase in PLAN.phases if phase.name == "test")
    least_s, most_s = estimate_s(PLAN, speeds(1e9), 10**6)
    assert least_s > FASTEST * test.likely * test.cost / 1e9 / test.trainings
    assert most_s > SLOWEST * test.cost / 1e9 / test.trainings
