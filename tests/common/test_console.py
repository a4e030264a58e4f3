import io

import pytest
from rich.console import Console

from search.common import console
from search.common.console import ProgressReporter, duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "60 s"), (100, "2 min"), (3600, "60 min"), (5400, "1.5 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_depends_on_work_and_not_on_credit(clock):
    reporter = ProgressReporter(Console(file=io.StringIO()), total=100)
    assert reporter.time_left_s() is None
    clock[0] = 10.0
    reporter.worked(20)
    assert reporter.time_left_s() == pytest.approx(40)
    reporter.credit(40)  # saved by an early stop: less is left, at the same speed
    assert reporter.time_left_s() == pytest.approx(20)
    reporter.credit(1000)
    assert reporter.time_left_s() == 0


def test_plain_lines_are_rare_and_name_phase_and_best(clock):
    out = io.StringIO()
    reporter = ProgressReporter(Console(file=out, width=100), total=100)
    reporter.phase("search", "4 trials")
    for second in range(1, 61):
        clock[0] = float(second)
        reporter.worked(1)
    clock[0] = 62.0
    reporter.best("best [accuracy] 0.9")  # brackets are not markup
    lines = out.getvalue().splitlines()
    assert 3 <= len(lines) <= 6
    assert lines[0].startswith("search")
    assert "best [accuracy] 0.9" in lines[-1]
