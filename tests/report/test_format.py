"""Numbers and words as a report writes them."""

import pytest

from search.report.format import NOTHING, day, large, listed, milliseconds, times


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
    ("value", "written"),
    [(1.001, "the same as"), (1.5, "1.50 times"), (0.00257, "0.0026 times"), (4.9, "4.9 times"), (63, "63 times")],
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
