"""Numbers as a page writes them, and what they are sorted by."""

import math

import pandas as pd
import pytest

from search.report.format import (
    NOTHING,
    Cell,
    day,
    difference,
    large,
    listed,
    milliseconds,
    number,
    parameter,
    text,
    times,
)


def compared(mean, low, high, p_mcnemar):
    ends = {"": mean, "_low": low, "_high": high}
    return pd.Series(
        {f"difference_reference{end}": value for end, value in ends.items()} | {"p_mcnemar": p_mcnemar}
    )


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        (compared(0.018, -0.054, 0.09, 0.2), Cell("+1.8 (−5.4 to +9.0)", 0.018)),
        (compared(0.018, math.nan, math.nan, 0.2), Cell("+1.8", 0.018)),  # one fold
        (compared(0.0, 0.0, 0.0, 1.0), Cell("+0.0 (+0.0 to +0.0)", 0.0)),  # another level, as right
        (compared(0.0, 0.0, 0.0, math.nan), Cell(NOTHING)),  # the reference itself
        (compared(math.nan, math.nan, math.nan, math.nan), Cell(NOTHING)),  # no reference
    ],
)
def test_a_difference_is_told_from_none(row, cell):
    assert difference(row) == cell


@pytest.mark.parametrize("make", [text, parameter, lambda value: number(value, ".2f")])
@pytest.mark.parametrize("value", [None, math.nan, pd.NA, pd.NaT])
def test_what_is_missing_says_nothing_and_sorts_last(make, value):
    assert make(value) == Cell(NOTHING, None)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (True, Cell("True", "True")),
        (28.0, Cell("28", 28.0)),
        (0.00123456, Cell("0.00123", 0.00123456)),
        (-2.5, Cell("−2.5", -2.5)),
        ("batch", Cell("batch", "batch")),
    ],
)
def test_a_parameter_of_any_type_is_written_and_sorted(value, cell):
    assert parameter(value) == cell


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((9_999, "9,999"), (53_400, "53 thousand"), (999_960, "1 million"), (13_200_000, "13.2 million")),
        *((999_700_000, "1 billion"), (5_960_000_000, "5.96 billion"), (None, NOTHING)),
    ],
)
def test_a_large_number(value, written):
    assert large(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(1.001, "the same as"), (1.5, "1.50 times"), (4.9, "4.9 times"), (63, "63 times")]
)
def test_a_ratio(value, written):
    assert times(value, 1) == written


@pytest.mark.parametrize(("value", "written"), [(0.634, "0.63 ms"), (5.17, "5.2 ms"), (123.4, "123 ms")])
def test_a_time(value, written):
    assert milliseconds(value) == written


def test_names_and_moments_in_a_sentence():
    assert listed(["a"]) == "a"
    assert listed("abc") == "a, b and c"
    assert day("2026-11-24T18:32:10+00:00") == "24 November 2026, 18:32 UTC"
    assert day("yesterday") == "yesterday"
