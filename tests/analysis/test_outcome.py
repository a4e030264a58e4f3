import pytest

from search.analysis.outcome import Outcome, outcome


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.002, 0.03, Outcome.BETTER),
        (-0.03, -0.002, Outcome.WORSE),
        (-0.002, 0.03, Outcome.OPEN),
        (-0.01, 0.01, Outcome.SAME),
        (0.002, 0.008, Outcome.SAME),  # shown to be better, by too little to matter
        (0.0, 0.0, Outcome.SAME),
        (0.0, 0.03, Outcome.OPEN),
    ],
)
def test_the_interval_and_the_margin_decide(low, high, expected):
    mirror = {Outcome.BETTER: Outcome.WORSE, Outcome.WORSE: Outcome.BETTER}
    assert outcome(low, high, 0.01) == expected
    assert outcome(-high, -low, 0.01) == mirror.get(expected, expected)


def test_without_a_margin_only_exactly_nothing_is_the_same():
    assert outcome(0.0, 0.0, None) == outcome(0.0, 0.0, 0.0) == Outcome.SAME
    assert outcome(1e-9, 2e-9, None) == Outcome.BETTER
    assert outcome(-1e-9, 1e-9, None) == Outcome.OPEN
