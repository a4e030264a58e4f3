"""What a study told of its duration is held against what it took."""

import pytest

from benchmarks.clock import told_of


def lines(left_at_20, left_at_50):
    shown = [(1, None), (20, left_at_20), (30, None), (50, left_at_50), (99, 1.0)]
    return [{"at": 1000.0, "low": 80.0, "high": 120.0}, *({"at": 1000.0 + at, "left": left} for at, left in shown)]


def test_the_time_left_is_compared_with_the_truth():
    told = told_of(lines(100.0, 40.0), ended=1100.0)
    assert told.took_s == 100
    assert told.holds
    assert told.off == pytest.approx((100 / 80 - 1, 40 / 50 - 1))


def test_a_time_that_is_not_shown_is_not_judged():
    assert told_of(lines(None, 50.0), ended=1100.0).off == (None, 0)


@pytest.mark.parametrize(("ended", "holds"), [(1079.0, False), (1081.0, True), (1119.0, True), (1121.0, False)])
def test_a_duration_beyond_the_first_range_does_not_hold(ended, holds):
    assert told_of(lines(1.0, 1.0), ended).holds == holds
