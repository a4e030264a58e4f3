"""Tables as values, and numbers as a page writes them; no HTML here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from search.analysis.verdict import p_text, signed

NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and the number or text that it is sorted by; None sorts last in either direction."""

    text: str
    order: float | str | None = None
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A column's head; `meaning` is shown when it is pointed at."""

    name: str
    meaning: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        name: of its element.
        caption: what it shows, in one line.
        filter: label of a field that filters the rows; None for no such field.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    filter: str | None = None


def text(value: Any, *, strong: bool = False) -> Cell:
    """A name, sorted by itself."""
    return Cell(NOTHING) if missing(value) else Cell(str(value), str(value), strong)


def number(value: Any, form: str, scale: float = 1) -> Cell:
    """A number in a format of Python's, sorted by its value."""
    return Cell(NOTHING) if missing(value) else Cell(f"{value * scale:{form}}".replace("-", "−"), float(value))


def share(value: Any) -> Cell:
    """A score from 0 to 1."""
    return number(value, ".3f")


def percent(value: Any, digits: int = 1) -> Cell:
    """A share as percent."""
    return Cell(NOTHING) if missing(value) else Cell(f"{100 * value:.{digits}f} %", float(value))


def metric_name(metric: str) -> str:
    """A headline metric as a reader calls it."""
    return metric.replace("_", " ").replace("f1", "F1")


def p_value(value: Any) -> Cell:
    """A p value, as everywhere in a report."""
    return Cell(NOTHING) if missing(value) else Cell(p_text(float(value)), float(value))


def difference(row: pd.Series) -> Cell:
    """A difference from the reference in points with its interval; nothing for the reference itself."""
    mean, low, high = (row[f"difference_reference{end}"] for end in ("", "_low", "_high"))
    if missing(row["p_mcnemar"]):  # what is compared with itself is not tested
        return Cell(NOTHING)
    if missing(low):
        return Cell(signed(100 * mean), float(mean))
    return Cell(f"{signed(100 * mean)} ({signed(100 * low)} to {signed(100 * high)})", float(mean))


def parameter(value: Any) -> Cell:
    """A parameter of a space, of whatever type."""
    if isinstance(value, float) and not math.isnan(value):
        return number(value, ",.0f" if value.is_integer() else ".3g")
    return Cell(NOTHING) if missing(value) else Cell(str(value), _order(value))


def settings_text(row: pd.Series) -> str:
    """The parameters in a table's row; those of other branches of a conditional space are null there."""
    names = [name for name in row.index if name.startswith("params_") and not missing(row[name])]
    return ", ".join(f"{name.removeprefix('params_')} {parameter(row[name]).text}" for name in names)


def with_interval(successes: int, n: int, interval: tuple[float, float]) -> Cell:
    """A share with its interval in percent; nothing where there is nothing to divide by."""
    if n == 0:
        return Cell(NOTHING)
    low, high = (100 * end for end in interval)
    return Cell(f"{100 * successes / n:.1f} % ({low:.1f} to {high:.1f})", successes / n)


def large(value: Any) -> str:
    """A count of many, in thousands or millions."""
    if missing(value):
        return NOTHING
    if value < 1e4:
        return f"{value:,.0f}"
    if value < 999_500:
        return f"{value / 1e3:.0f} thousand"
    return f"{value / 1e6:.3g} million" if value < 999.5e6 else f"{value / 1e9:.3g} billion"


def milliseconds(value: float) -> str:
    """A time in two digits."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def times(value: float, reference: float) -> str:
    """A ratio for a reader, to stand before what is divided by."""
    ratio = value / reference
    if abs(ratio - 1) < 0.005:
        return "the same as"
    return f"{ratio:.2f} times" if ratio < 2 else f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def day(iso: str) -> str:
    """A moment as in 24 November 2026, 18:32 UTC; what is no moment stays as it is."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def missing(value: Any) -> bool:
    """Whether a table has nothing there."""
    return bool(pd.isna(value))


def _order(value: Any) -> float | str:
    return str(value) if isinstance(value, bool | str) else float(value)
