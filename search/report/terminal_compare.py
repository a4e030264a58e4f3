"""What `search.show --compare A B` prints: two studies beside each other, narrow enough for a terminal."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.analysis.statistics import Interval
from search.analysis.two_studies import (
    Facts,
    LevelRow,
    StudyTables,
    compared,
    differences_in_making,
    outcome,
    same_test_set,
    searched,
    shared_repeats,
)
from search.common.console import duration
from search.common.errors import InputError
from search.records.ledger import read_table
from search.records.studyfolder import StudyFolder

# Whatever a study has from its start, without which it cannot be compared.
_DESCRIBED = ("arguments", "factor", "levels", "reference", "plan", "origin", "data", "environment")
_TITLES = {"tuned": "each level at its best settings", "equal": "all at the same settings"}


def print_compared(console: Console, path_a: Path, path_b: Path) -> None:
    """Print what differs in how two studies were made, and what came out of them.

    Raises:
        InputError: no study in one of them, twice the same folder, or a file that cannot be read.
    """
    if path_a.resolve() == path_b.resolve():
        raise InputError(f"--compare {path_a} {path_b}: this is one folder, not two")
    a, b = _read(path_a), _read(path_b)
    for name, path in (("A", path_a), ("B", path_b)):
        console.print(f"[bold]{name}[/bold]  {escape(str(path))}", soft_wrap=True)
    _print_making(console, differences_in_making(a.description, b.description))
    metric, other = (study.description["arguments"]["metric"] for study in (a, b))
    if metric != other:
        console.print(f"B searched for {other}; here both are compared by A's metric, {metric}.")
    if len(a.comparison) and len(b.comparison):
        _print_comparisons(console, a, b, metric)
    else:
        _print_search(console, a, b, metric)
    _print_outcomes(console, a, b, metric)
    if any(name.startswith("synthetic") for study in (a, b) for name in study.description["data"]):
        console.print("[yellow]note[/yellow]  drawn cells are a demonstration and no evidence about blood cells")


def _read(path: Path) -> StudyTables:
    folder = StudyFolder.open(path)
    folder.require(*_DESCRIBED)
    return StudyTables(
        description=folder.description,
        predictions=read_table(path, "predictions", ["phase", "repeat", "fold", "image"]),
        **{name: read_table(path, name) for name in ("trials", "comparison", "folds", "transfer")},
    )


def _print_making(console: Console, differing: dict[str, Facts]) -> None:
    same = [f"same {word}" for word, facts in differing.items() if not facts]
    if same:
        console.print(", ".join(same))
    facts = {name: values for found in differing.values() for name, values in found.items()}
    if facts:
        _print_facts(console, "What differs", facts)


def _print_comparisons(console: Console, a: StudyTables, b: StudyTables, metric: str) -> None:
    repeats = shared_repeats(a, b)
    for settings, title in _TITLES.items():
        rows = compared(a, b, settings, metric)
        if rows:
            _title(console, f"Comparison, {title}: {metric} pooled over folds")
            console.print(_paired(rows) if repeats else _unpaired(rows))
    if repeats:
        n_folds = a.description["plan"]["folds"] * len(repeats)
        studies = {"A": a, "B": b}
        more = [name for name in studies if studies[name].description["plan"]["repeats"] > len(repeats)]
        aside = f" Further folds of {' and '.join(more)} are in the pooled values only." if more else ""
        console.print(
            f"[dim]Both were scored on the same {n_folds} folds of the same images: the difference is the mean "
            "over these, paired, with the variance of correlated folds; p is adjusted over a table's levels "
            f"(Holm).{aside}[/dim]"
        )
    else:
        console.print(
            "They were not scored on the same folds of the same images, so no paired test is made; an interval is "
            "that of a study's own mean over folds."
        )


def _paired(rows: Sequence[LevelRow]) -> Table:
    table = _levels_table("A", "B", "B minus A, points (95\N{NO-BREAK SPACE}%)", "p Holm")
    for row in rows:
        table.add_row(escape(row.level), _share(row.a), _share(row.b), _difference(row), _p(row.p_holm))
    return table


def _unpaired(rows: Sequence[LevelRow]) -> Table:
    table = _levels_table("A", "A 95 %", "B", "B 95 %")
    for row in rows:
        cells = (_share(row.a), _interval(row.a_over_folds), _share(row.b), _interval(row.b_over_folds))
        table.add_row(escape(row.level), *cells)
    return table


def _print_search(console: Console, a: StudyTables, b: StudyTables, metric: str) -> None:
    rows = searched(a, b, metric)
    if rows:
        _title(console, f"Search so far: {metric} of each level's best trial")
        table = _levels_table("A", "B")
        for row in rows:
            table.add_row(escape(row.level), _share(row.a), _share(row.b))
        console.print(table)
    lacking = [name for name, study in (("A", a), ("B", b)) if not len(study.comparison)]
    console.print(
        f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no comparison yet. Values of a search "
        "flatter, since the best was chosen by them; nothing is tested."
    )


def _print_outcomes(console: Console, a: StudyTables, b: StudyTables, metric: str) -> None:
    outcomes = [outcome(study, metric) for study in (a, b)]
    texts = [_outcome_texts(found, metric) for found in outcomes]
    facts = {name: (texts[0].get(name), texts[1].get(name)) for name in dict.fromkeys([*texts[0], *texts[1]])}
    _print_facts(console, "What came out", facts)
    if all("test" in found for found in outcomes):
        if not same_test_set(a, b):
            console.print("Their test sets are not the same images.")
        for name, found in zip("AB", outcomes, strict=True):
            if found["test_scored"] > 1:
                console.print(f"The test set of {name} was scored {found['test_scored']} times as the study grew.")


def _outcome_texts(found: dict[str, Any], metric: str) -> dict[str, str]:
    """What a study has come to, by name and in words."""
    texts = {"trials": found["trials"] or "none"}
    if found["time_s"] is not None:
        texts["time"] = duration(found["time_s"])
    if "winner" in found:
        texts["winner"] = found["winner"]
        texts |= {f"its test {name}": _share(found["test"][name]) for name in dict.fromkeys(("accuracy", metric))}
    if "macs" in found:
        texts["its MMACs"] = f"{found['macs'] / 1e6:.1f}"
        texts["its parameters"] = f"{found['n_parameters']:,}"
        texts["its ms per image"] = f"{found['latency_ms']:.2f}"
    if "way" in found:
        way = found["way"].replace("_", "-")
        texts[f"its best transfer, {metric}"] = f"{_share(found['transferred'])} {way}, to {found['target']}"
    return texts


def _title(console: Console, title: str) -> None:
    """A line of its own, since a table's title is folded to the width of the table."""
    console.print(f"[bold]{escape(title)}[/bold]")


def _levels_table(*numbers: str) -> Table:
    # Without a pad at its edges the paired table has room in 60 columns.
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("level")
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _print_facts(console: Console, title: str, facts: Facts) -> None:
    _title(console, title)
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("", style="dim")
    for study in ("A", "B"):
        table.add_column(study, overflow="fold")
    for name, values in facts.items():
        table.add_row(escape(name), *(escape(_text(value)) for value in values))
    console.print(table)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(value: float) -> str:
    if isnan(value):
        return "–"
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def _interval(interval: Interval | None) -> str:
    """The interval within 0..1, where the metric lies; few folds give wider ones."""
    if interval is None:
        return "–"
    return f"{max(0, interval.low):.3f}–{min(1, interval.high):.3f}"


def _difference(row: LevelRow) -> str:
    if row.difference is None:
        return "–"
    mean, low, high = (100 * value for value in (row.difference.mean, row.difference.low, row.difference.high))
    return f"{mean:+.1f}" if isnan(low) else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
