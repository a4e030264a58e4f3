"""A table in a terminal never cuts a name, and gives up its least important columns first."""

import pytest
from rich.console import Console

from search.report.columns import Column, print_table

COLUMNS = [
    Column(name="level", least=12),
    Column(name="score"),
    Column(name="p", rank=1),
    Column(name="time", rank=2),
]
LONG = "a_class_name_of_exactly_forty_characters"
ROWS = [(LONG, "0.912", "0.034", "12.5"), ("b", "0.871", "0.500", "3.1")]


def printed(width, columns=COLUMNS, rows=ROWS):
    console = Console(width=width, color_system=None, record=True, quiet=False, file=None)
    with console.capture() as capture:
        print_table(console, "Scores", columns, rows)
    return capture.get()


@pytest.mark.parametrize("width", [120, 80, 60, 40, 30, 24])
def test_every_line_fits_and_no_name_or_number_is_cut(width):
    out = printed(width)
    assert all(len(line) <= width for line in out.splitlines())
    assert "…" not in out
    letters = "".join(line.split("  ")[0].strip() for line in out.splitlines()[2:])
    assert LONG in letters
    assert "0.912" in out


def test_columns_give_way_by_importance_and_are_named():
    widths = range(24, 121)
    left = [sum(f" {value}" in printed(width) for value in ("0.034", "12.5")) for width in widths]
    assert left == sorted(left)
    assert left[0] == 0
    assert left[-1] == 2
    alone = next(printed(width) for width, n in zip(widths, left, strict=True) if n == 1)
    assert "0.034" in alone
    assert "time" in alone.splitlines()[-1]  # says what is left out


def test_columns_of_one_rank_stay_or_go_together():
    columns = [COLUMNS[0], Column(name="points", rank=1), Column(name="interval", rank=1)]
    rows = [(LONG, "+1.5", "-0.2 to +3.2")]
    for width in range(14, 60):
        out = printed(width, columns, rows)
        assert ("+1.5" in out) == ("+3.2" in out)
