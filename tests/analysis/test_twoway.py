import numpy as np
import pytest

from search.analysis.outcome import Outcome, outcome
from search.analysis.twoway import shrunken


@pytest.mark.parametrize("seed", range(3))
def test_estimates_lie_between_the_table_and_the_additive_model(seed):
    values = np.random.default_rng(seed).normal(size=(8, 2))
    additive = values.mean(1, keepdims=True) + values.mean(0, keepdims=True) - values.mean()
    assert shrunken(values, 0.0) == pytest.approx(values)
    assert shrunken(values, 1e9) == pytest.approx(additive)
    between = shrunken(values, 0.5 * ((values - additive) ** 2).mean())
    assert between == pytest.approx((values + additive) / 2)
    for estimates in (between, shrunken(values, 0.01)):
        assert estimates.mean(1) == pytest.approx(values.mean(1))
        assert estimates.mean(0) == pytest.approx(values.mean(0))


def test_one_setting_or_no_remainder_changes_nothing():
    values = np.array([[0.5], [0.7]])
    assert shrunken(values, 0.1) == pytest.approx(values)
    table = np.add.outer([0.0, 1.0, 2.0], [0.0, 5.0])
    assert shrunken(table, 0.1) == pytest.approx(table)


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.02, 0.04, 0.01, Outcome.BETTER),
        (-0.04, -0.02, 0.01, Outcome.WORSE),
        (-0.004, 0.009, 0.01, Outcome.SAME),
        (0.002, 0.009, 0.01, Outcome.SAME),
        (0.002, 0.02, 0.01, Outcome.BETTER),
        (-0.02, 0.009, 0.01, Outcome.OPEN),
        (0.0, 0.0, None, Outcome.SAME),
        (-0.004, 0.009, None, Outcome.OPEN),
        (0.002, 0.009, None, Outcome.BETTER),
    ],
)
def test_outcomes(low, high, margin, expected):
    assert outcome(low, high, margin) == expected
