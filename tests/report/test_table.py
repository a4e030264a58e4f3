"""Entries of a page's tables: their text, and the value that sorts them."""

import math

import pandas as pd
import pytest

from search.analysis.outcome import Outcome
from search.analysis.verdict import Finding
from search.report.page.table import EMPTY, Entry, estimate, gain, number, parameter, text


def finding(estimate=0.018, low=-0.054, high=0.09, metric="accuracy"):
    constant = {
        "phase": "compare",
        "contrast": "1 − none",
        "kind": "pair",
        "level": "1",
        "setting": None,
        "way": None,
    }
    constant |= {"se": 0.01, "df": 20.0, "p": 0.2, "p_better": 0.4, "p_equal": 0.4, "p_worse": 0.2, "n_runs": 2}
    outcome = None if math.isnan(low) else Outcome.OPEN
    return Finding(**constant, metric=metric, estimate=estimate, low=low, high=high, outcome=outcome)


@pytest.mark.parametrize(
    ("found", "entry"),
    [
        (finding(), Entry("+1.8 (−5.4 to +9.0)", 0.018)),
        (finding(low=math.nan, high=math.nan), Entry("+1.8", 0.018)),  # too few data
        (finding(0.0, 0.0, 0.0), Entry("+0.0 (+0.0 to +0.0)", 0.0)),  # another level, as good
        (finding(metric="log_loss"), Entry("+0.018 (−0.054 to +0.090)", 0.018)),  # not in points
        (None, EMPTY),
    ],
)
def test_a_difference_of_zero_is_not_a_missing_one(found, entry):
    assert estimate(found, interval=True) == entry


@pytest.mark.parametrize(
    ("found", "entry"),
    [
        (finding(), Entry("9.0", 0.09)),
        (finding(-0.05, -0.09, -0.01), Entry("0.0", -0.01)),
        (finding(low=math.nan, high=math.nan), EMPTY),
    ],
)
def test_the_gain_is_the_upper_end_or_nothing(found, entry):
    assert gain(found) == entry


@pytest.mark.parametrize("make", [text, parameter, lambda value: number(value, ".2f")])
@pytest.mark.parametrize("value", [None, math.nan, pd.NA, pd.NaT])
def test_a_missing_value_has_no_order(make, value):
    assert make(value) == EMPTY
    assert EMPTY.order is None


@pytest.mark.parametrize(
    ("value", "entry"),
    [
        (True, Entry("True", "True")),
        (28.0, Entry("28", 28.0)),
        (0.00123456, Entry("0.00123", 0.00123456)),
        (-2.5, Entry("−2.5", -2.5)),
        ("batch", Entry("batch", "batch")),
    ],
)
def test_a_parameter_of_any_type(value, entry):
    assert parameter(value) == entry
