import io

import pytest
from rich.console import Console

from search.common import console
from search.common.clock import Clock
from search.common.console import ProgressReporter, duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "60 s"), (100, "2 min"), (3600, "60 min"), (5400, "1.5 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def now(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_are_rare_and_name_phase_share_and_best(now):
    out, clock = io.StringIO(), Clock({"search": {"network": 100.0}})
    reporter = ProgressReporter(Console(file=out, width=100), clock)
    reporter.phase("search", "4 trials")
    for second in range(1, 61):
        now[0] = float(second)
        clock.worked("search", "network", 1.0, 1.0)
        reporter.refresh()
    now[0] = 62.0
    reporter.best("best [accuracy] 0.9")  # brackets are not markup
    lines = out.getvalue().splitlines()
    assert 3 <= len(lines) <= 6
    assert lines[0].startswith("search")
    assert "60%" in lines[-1]
    assert "best [accuracy] 0.9" in lines[-1]
