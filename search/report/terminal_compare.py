"""Two studies side by side in the terminal: `search.show --compare A B`."""

from collections import Counter
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
    compared_levels,
    differences_in_making,
    same_test_set,
    searched_levels,
    shared_repeats,
)
from search.analysis.verdict import verdict
from search.analysis.words import p_text
from search.common.console import duration
from search.common.errors import InputError
from search.records.results import Results, read_results
from search.report.terminal import DRAWN


def print_compared(console: Console, path_a: Path, path_b: Path) -> None:
    """Print what differs in how two studies were made, and what came out of them.

    Raises:
        InputError: no study in one of the folders, the same folder twice, or a file that cannot be read.
    """
    if path_a.resolve() == path_b.resolve():
        raise InputError(f"--compare {path_a} {path_b}: this is one folder, not two")
    a, b = read_results(path_a), read_results(path_b)
    for name, path in (("A", path_a), ("B", path_b)):
        console.print(f"[bold]{name}[/bold]  {escape(str(path))}", soft_wrap=True)
    _print_making(console, differences_in_making(a.description, b.description))
    metric = a.description.metric
    if b.description.metric != metric:
        console.print(f"B searched for {b.description.metric}; here both are compared by A's metric, {metric}.")
    if len(a.comparison) and len(b.comparison):
        _print_comparisons(console, a, b, metric)
    else:
        _print_search(console, a, b, metric)
    _print_outcomes(console, a, b, metric)
    if a.description.is_drawn or b.description.is_drawn:
        console.print(DRAWN)


def _print_making(console: Console, differing: dict[str, Facts]) -> None:
    same = [f"same {word}" for word, facts in differing.items() if not facts]
    if same:
        console.print(", ".join(same))
    facts = {name: values for found in differing.values() for name, values in found.items()}
    if facts:
        _print_facts(console, "What differs", facts)


def _print_comparisons(console: Console, a: Results, b: Results, metric: str) -> None:
    repeats, rows = shared_repeats(a, b), compared_levels(a, b, metric)
    _print_title(console, f"Comparison: {metric} over all settings, pooled over folds")
    console.print(_paired(rows) if repeats else _unpaired(rows))
    older = [name for name, study in (("A", a), ("B", b)) if study.description.is_older]
    if older:
        console.print(f"[dim]{' and '.join(older)} compared levels at their own settings; these are shown.[/dim]")
    if not repeats:
        console.print(
            "They were not scored on the same folds of the same images, so there is no paired test; each interval "
            "is that of a study's own mean over folds."
        )
        return
    n_folds = a.description.plan.folds * len(repeats)
    more = [
        name
        for name, study in (("A", a), ("B", b))
        if study.folds.query("phase == 'compare'")["repeat"].nunique() > len(repeats)
    ]
    aside = f" Further folds of {' and '.join(more)} count in the pooled values only." if more else ""
    console.print(
        f"[dim]Both were scored on the same {n_folds} folds of the same images: differences are paired, image by "
        f"image; intervals and p hold for all of them at once.{aside}[/dim]"
    )


def _paired(rows: Sequence[LevelRow]) -> Table:
    table = _levels_table("A", "B", "B minus A, points (95\N{NO-BREAK SPACE}%)", "p")
    for row in rows:
        table.add_row(escape(row.level), _share(row.a), _share(row.b), _difference(row), _p(row))
    return table


def _unpaired(rows: Sequence[LevelRow]) -> Table:
    table = _levels_table("A", "A 95 %", "B", "B 95 %")
    for row in rows:
        values = (_share(row.a), _interval(row.a_over_folds), _share(row.b), _interval(row.b_over_folds))
        table.add_row(escape(row.level), *values)
    return table


def _print_search(console: Console, a: Results, b: Results, metric: str) -> None:
    rows = searched_levels(a, b, metric)
    if rows:
        _print_title(console, f"Search so far: {metric} of each level's best trial")
        table = _levels_table("A", "B")
        for row in rows:
            table.add_row(escape(row.level), _share(row.a), _share(row.b))
        console.print(table)
    lacking = [name for name, study in (("A", a), ("B", b)) if study.comparison.empty]
    console.print(
        f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no comparison yet. The best value of a "
        "search flatters, since it was chosen for being the best; nothing is tested."
    )


def _print_outcomes(console: Console, a: Results, b: Results, metric: str) -> None:
    of_a, of_b = (_outcome(study, metric) for study in (a, b))
    _print_facts(console, "What came out", {name: (of_a.get(name), of_b.get(name)) for name in {**of_a, **of_b}})
    if a.description.test is not None and b.description.test is not None:
        if not same_test_set(a, b):
            console.print("Their test sets are not the same images.")
        for name, study in (("A", a), ("B", b)):
            times = study.description.test_scored
            if times > 1:
                console.print(f"The test set of {name} was scored {times} times as the study grew.")


def _outcome(study: Results, metric: str) -> dict[str, str]:
    """Trials, time, the tested winner, its cost and its best way of transfer, by name and in words."""
    description = study.description
    states = Counter(study.trials["state"]).most_common()
    texts = {"trials": ", ".join(f"{count} {state}" for state, count in states) or "none"}
    if description.time is not None:
        texts["time"] = duration(description.time["elapsed"])
    found = verdict(study)
    if found is not None and found.recommendation is not None and found.recommendation.is_judged:
        texts["recommended"] = found.recommendation.level
    if description.winner is None or description.test is None:
        return texts
    level = description.winner["level"]
    texts["winner"] = level
    texts |= {f"its test {name}": _share(description.test[name]) for name in dict.fromkeys(("accuracy", metric))}
    for _, row in study.levels[study.levels["level"] == level].iterrows():
        costs = {
            "its MMACs": (row["macs"] / 1e6, ".1f"),
            "its parameters": (row["n_parameters"], ",.0f"),
            "its ms per image": (row["latency_ms"], ".2f"),
        }
        texts |= {name: f"{value:{form}}" for name, (value, form) in costs.items() if not isnan(value)}
    ways = study.transfer[study.transfer["level"] == level]
    if len(ways):
        best = ways.iloc[int(ways[metric].argmax())]
        way = best["way"].replace("_", "-")
        texts[f"its best transfer, {metric}"] = f"{_share(best[metric])} {way}, to {best['data']}"
    return texts


def _print_title(console: Console, title: str) -> None:
    """A line of its own, since rich folds a table's title to the width of the table."""
    console.print(f"[bold]{escape(title)}[/bold]")


def _levels_table(*numbers: str) -> Table:
    # Without padding at its edges the paired table fits into 60 columns.
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("level", overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _print_facts(console: Console, title: str, facts: Facts) -> None:
    _print_title(console, title)
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("", style="dim", overflow="fold")
    for study in ("A", "B"):
        table.add_column(study, overflow="fold")
    for name, values in facts.items():
        table.add_row(escape(name), *(escape(_text(value)) for value in values))
    console.print(table)


def _text(value: Any) -> str:
    if value in (None, ""):
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(row: LevelRow) -> str:
    return "–" if row.difference is None or isnan(row.difference.p) else p_text(row.difference.p)


def _interval(interval: Interval | None) -> str:
    """The interval within 0..1, the range of the metric; few folds give wider ones."""
    if interval is None:
        return "–"
    return f"{max(0, interval.low):.3f}–{min(1, interval.high):.3f}"


def _difference(row: LevelRow) -> str:
    if row.difference is None:
        return "–"
    mean, low, high = (100 * value for value in (row.difference.mean, row.difference.low, row.difference.high))
    return f"{mean:+.1f}" if isnan(low) else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
