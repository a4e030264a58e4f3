"""Numbers and words as every report writes them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd

from search.records.description import Description
from search.records.results import Results

NOTHING = "–"


def metric_name(metric: str) -> str:
    """A metric's name in a title or header."""
    return metric.replace("_", " ").replace("f1", "F1").replace("brier", "Brier score").replace("auc", "AUC")


def setting_name(description: Description, setting: float) -> str:
    """A setting of the comparison."""
    if description.is_older:
        return "shared settings" if setting else "own settings"
    own = "own " if description.factor is not None and not description.plan.shares_settings else ""
    return f"{own}setting {setting:.0f}"


def overall(results: Results, metric: str) -> dict[str, float]:
    """Every level's score over all settings; older studies have none, so theirs is the mean over settings."""
    if not results.description.is_older:
        return dict(zip(results.levels["level"], results.levels[metric], strict=True))
    return {str(level): float(rows[metric].mean()) for level, rows in results.at_settings.groupby("level")}


def at_home(results: Results, metric: str) -> dict[str, float]:
    """Score of every level, the control and the paper's networks on the source, in the comparison."""
    rows = results.comparison[~results.comparison["level"].isin(results.description.levels)]
    others = rows.drop_duplicates("level", keep="last")  # over all settings, if there are several
    return {**overall(results, metric), **dict(zip(others["level"], others[metric], strict=True))}


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
    if ratio < 0.095:
        return f"{ratio:.2g} times"
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


def score_text(row: pd.Series, metric: str) -> str:
    """A mean over networks with its interval, as in "0.512 (0.430 to 0.594)"."""
    mean, low, high = (row[f"{metric}{part}"] for part in ("_mean", "_low", "_high"))
    return f"{row[metric]:.3f}" if missing(mean) else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def way_name(way: str) -> str:
    """A way to the target, for a reader."""
    return {"untouched_adapted": "untouched, norms adapted"}.get(way, way.replace("_", "-"))


def missing(value: Any) -> bool:
    """Whether a value of a table is null."""
    return bool(pd.isna(value))
