"""Entries of a page's tables: their text, and the value that sorts them."""

import math

import pandas as pd
import pytest

from search.report.page.table import EMPTY, Entry, difference, number, parameter, text


def compared(mean, low, high, p_mcnemar):
    values = (mean, low, high, p_mcnemar)
    names = ("difference_reference", "difference_reference_low", "difference_reference_high", "p_mcnemar")
    return pd.Series(dict(zip(names, values, strict=True)))


@pytest.mark.parametrize(
    ("row", "entry"),
    [
        (compared(0.018, -0.054, 0.09, 0.2), Entry("+1.8 (−5.4 to +9.0)", 0.018)),
        (compared(0.018, math.nan, math.nan, 0.2), Entry("+1.8", 0.018)),  # one fold
        (compared(0.0, 0.0, 0.0, 1.0), Entry("+0.0 (+0.0 to +0.0)", 0.0)),  # another level, as good
        (compared(0.0, 0.0, 0.0, math.nan), EMPTY),  # the reference itself
        (compared(math.nan, math.nan, math.nan, math.nan), EMPTY),  # no reference
    ],
)
def test_a_difference_of_zero_is_not_a_missing_one(row, entry):
    assert difference(row) == entry


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
