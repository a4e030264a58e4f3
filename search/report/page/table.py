"""Tables of a page as values: entries with the text to show and the value to sort by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.analysis.verdict import Finding
from search.analysis.words import p_text
from search.report.format import NOTHING, missing, number_text, parameter_text


@dataclass(frozen=True)
class Entry:
    """A text in a table, and the number or text that sorts it; None sorts last in either direction."""

    text: str
    order: float | str | None = None
    strong: bool = False


EMPTY = Entry(NOTHING)


@dataclass(frozen=True)
class Column:
    """A column's header; `meaning` is its tooltip."""

    name: str
    meaning: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        name: of its HTML element.
        caption: what it shows, in one line.
        filter: label of a field that filters the rows; None for no field.
        level_column: the column whose entries are levels, which charts light up; None for none.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    filter: str | None = None
    level_column: int | None = None


def text(value: Any, *, strong: bool = False) -> Entry:
    """A name, sorted by itself."""
    return EMPTY if missing(value) else Entry(str(value), str(value), strong)


def number(value: Any, form: str, scale: float = 1) -> Entry:
    """A number in a Python format, sorted by its value."""
    return EMPTY if missing(value) else Entry(number_text(value * scale, form), float(value))


def share(value: Any) -> Entry:
    """A score from 0 to 1."""
    return number(value, ".3f")


def percent(value: Any) -> Entry:
    """A share as a whole percentage."""
    return EMPTY if missing(value) else Entry(f"{100 * value:.0f} %", float(value))


def p_value(value: Any) -> Entry:
    """A p value."""
    return EMPTY if missing(value) else Entry(p_text(float(value)), float(value))


def parameter(value: Any) -> Entry:
    """A parameter of a space, of any type."""
    if missing(value):
        return EMPTY
    return Entry(parameter_text(value), str(value) if isinstance(value, bool | str) else float(value))


def estimate(finding: Finding | None, *, interval: bool = False) -> Entry:
    """A contrast's estimate, sorted by it; with its interval, if it has one."""
    if finding is None:
        return EMPTY
    around = f" ({finding.interval})" if interval and finding.interval else ""
    return Entry(f"{finding.text(finding.estimate)}{around}", finding.estimate)


def gain(finding: Finding) -> Entry:
    """The most that a contrast gains: the upper end of its interval, or nothing."""
    if missing(finding.high):
        return EMPTY
    return Entry(finding.text(max(0.0, finding.high)).lstrip("+"), finding.high)


def with_interval(successes: int, n: int, interval: tuple[float, float]) -> Entry:
    """A share with its interval in percent; empty if there is nothing to divide by."""
    if n == 0:
        return EMPTY
    low, high = (100 * end for end in interval)
    return Entry(f"{100 * successes / n:.1f} % ({low:.1f} to {high:.1f})", successes / n)
