"""Numbers and words as every report writes them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd

NOTHING = "–"


def metric_name(metric: str) -> str:
    """A metric's name in a sentence."""
    return metric.replace("_", " ").replace("f1", "F1")


def number_text(value: float, form: str) -> str:
    """A number in a Python format, with a proper minus sign."""
    return f"{value:{form}}".replace("-", "−")


def parameter_text(value: Any) -> str:
    """A parameter of a space, of any type."""
    if missing(value):
        return NOTHING
    return number_text(value, ",.0f" if value.is_integer() else ".3g") if isinstance(value, float) else str(value)


def settings_text(row: pd.Series) -> str:
    """The parameters in a table's row, without those that a conditional space did not ask for."""
    names = [name for name in row.index if name.startswith("params_") and not missing(row[name])]
    return ", ".join(f"{name.removeprefix('params_')} {parameter_text(row[name])}" for name in names)


def large(value: Any) -> str:
    """A large count, in thousands, millions or billions."""
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
    """A ratio in words, to be followed by the divisor."""
    ratio = value / reference
    if abs(ratio - 1) < 0.005:
        return "the same as"
    return f"{ratio:.2f} times" if ratio < 2 else f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def day(iso: str) -> str:
    """A time as in 24 November 2026, 18:32 UTC; other text stays as it is."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def missing(value: Any) -> bool:
    """Whether a value of a table is null."""
    return bool(pd.isna(value))
