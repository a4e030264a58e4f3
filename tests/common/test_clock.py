"""The time left is right for networks of any speed, and a resumed study goes on where it stopped."""

import pytest

from search.common import clock as module
from search.common.clock import LEAST_SHARE, Clock

# True seconds of a unit of work: the large network is efficient.
TRUE_S = {"small": 1.0, "middle": 0.4, "large": 0.1}
PLAN = {
    "search": {"small": 100.0, "middle": 200.0, "large": 1000.0},
    "compare": {"small": 200.0, "middle": 400.0, "large": 2000.0},
    "transfer": {"winner": 300.0},
}
SLOTS = 2


@pytest.fixture
def now(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def work(clock, now, phase, pieces, kind_of_winner="middle", before=lambda: None):
    """Works a phase off in many pieces, kinds in turn."""
    for _ in range(pieces):
        for kind, amount in PLAN[phase].items():
            before()
            seconds = TRUE_S[kind if kind in TRUE_S else kind_of_winner] * amount / pieces
            now[0] += seconds / SLOTS
            clock.worked(phase, kind, amount / pieces, seconds)
    clock.finish(phase)


def test_nothing_is_said_before_enough_is_done(now):
    clock = Clock(PLAN)
    assert (clock.share, clock.left_s()) == (0.0, None)
    now[0] = 1.0
    clock.worked("search", "small", 1.0, 1.0)
    assert clock.share < LEAST_SHARE
    assert clock.left_s() is None


@pytest.mark.parametrize("speeds", [None, {kind: 2.0 / second for kind, second in TRUE_S.items()}])
def test_the_time_left_is_near_the_truth(now, speeds):
    clock, seen = Clock(PLAN, speeds=speeds, slots=dict.fromkeys(PLAN, SLOTS)), []
    for phase in PLAN:
        work(clock, now, phase, 20, before=lambda: seen.append((clock.share, now[0], clock.left_s())))
    end = now[0]
    for share, limit in ((0.2, 0.25), (0.5, 0.15)):
        at, left = next((at, left) for done, at, left in seen if done >= share)
        assert abs(left - (end - at)) <= limit * (end - at)
    shares = [share for share, _, _ in seen]
    assert shares[0] == 0
    assert clock.share == pytest.approx(1)
    assert clock.left_s() == 0


def begun(now):
    clock = Clock(PLAN, slots=dict.fromkeys(PLAN, SLOTS))
    now[0] = 100.0
    clock.worked("search", "large", 200.0, 20.0)
    clock.worked("search", "small", 80.0, 80.0)
    return clock


def test_unnecessary_work_shortens_the_rest_of_its_phase_alone(now):
    plain, clock = begun(now), begun(now)
    before = clock.left_s()
    clock.saved("search", "large", 800.0)
    saved_s = 800 * TRUE_S["large"] * 20 / 100  # in 20 s, 100 s of training were done
    assert clock.left_s() < before - saved_s  # as much of the rest of the search is expected to be saved, too
    for each in (plain, clock):
        each.finish("search")
    assert clock.left_s() == pytest.approx(plain.left_s())


def test_a_resumed_study_goes_on_where_it_stopped(now):
    clock = Clock(PLAN, speeds={kind: 1 / second for kind, second in TRUE_S.items()})
    work(clock, now, "search", 5)
    share = clock.share
    resumed = Clock(PLAN, speeds={kind: 1 / second for kind, second in TRUE_S.items()})
    assert (resumed.share, resumed.left_s()) == (0.0, None)  # to look changes nothing
    resumed.finish("search")
    assert resumed.share == pytest.approx(share, abs=0.05)
    again = Clock(PLAN, speeds={kind: 1 / second for kind, second in TRUE_S.items()})
    for kind, amount in PLAN["search"].items():
        again.done_before("search", kind, amount)
    assert again.share == pytest.approx(share, abs=0.05)
    assert again.left_s() is None  # no speed is measured yet


def test_known_work_replaces_a_guess_until_its_phase_has_begun(now):
    clock = Clock({"compare": {"winner": 100.0}}, needed={"compare": 0.5})
    clock.expect("compare", {"small": 4000.0})
    clock.expect("compare", {"small": 40.0})
    now[0] = 10.0
    clock.worked("compare", "small", 20.0, 20.0)
    clock.expect("compare", {"small": 4000.0})
    assert clock.share == pytest.approx(0.5)
    assert clock.left_s() == pytest.approx(20.0)  # one after the other, as far as is known


def test_what_follows_the_last_phase_takes_its_time(now):
    clock = Clock({"compare": {"small": 40.0}}, slots=dict.fromkeys(PLAN, SLOTS), after_s=5.0)
    assert clock.share == 0
    now[0] = 10.0
    for _ in range(SLOTS):
        clock.worked("compare", "small", 10.0, 10.0)
    assert clock.left_s() == pytest.approx(10.0 + 5.0)
    assert clock.share == pytest.approx(0.5)
    clock.worked("compare", "small", 20.0, 10.0)
    clock.finish("compare")
    assert clock.left_s() == pytest.approx(5.0)
    assert clock.share == 1


def test_slots_that_wait_make_the_rest_longer_the_more_the_longer_it_is_measured(now):
    def left_s(busy, seconds):
        clock = Clock({"compare": {"small": 4000.0}}, slots=dict.fromkeys(PLAN, SLOTS))
        now[0] += seconds
        for _ in range(SLOTS):
            clock.worked("compare", "small", 1000.0, seconds)
        now[0] += seconds * (1 - busy) / busy
        return clock.left_s() / seconds

    assert left_s(1.0, 1000.0) == pytest.approx(1)
    assert 1 < left_s(0.5, 10.0) < left_s(0.5, 1000.0) < 2


def test_a_phase_that_is_slower_than_the_others_is_soon_told_by_its_own_speed(now):
    clock = Clock({phase: {"small": 1000.0} for phase in ("search", "compare")})
    now[0] = 1000.0
    clock.worked("search", "small", 1000.0, 1000.0)
    clock.finish("search")
    told = [clock.left_s()]
    for _ in range(5):
        now[0] += 200.0
        clock.worked("compare", "small", 100.0, 200.0)
        told.append(clock.left_s())
    assert told[0] == pytest.approx(1000.0)
    assert told[1] == pytest.approx(1800.0, rel=0.1)
    assert told[-1] == pytest.approx(1000.0, rel=0.02)
