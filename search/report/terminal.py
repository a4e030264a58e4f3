"""A study's tables in the terminal."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.records.description import Description
from search.records.results import Results, read_results
from search.records.schema import Settings
from search.report.format import settings_text

BEST_TRIALS = 10
TITLES = {Settings.TUNED: "each level at its best settings", Settings.EQUAL: "all at the same settings"}
DRAWN = "[yellow]note[/yellow]  synthetic cells are a demonstration, not evidence about blood cells"


def print_results(console: Console, path: Path) -> None:
    """Print what a study's folder holds so far: trials, comparison, transfer, test score, files.

    Raises:
        InputError: no study in the folder, or a file that cannot be read; names it.
    """
    results = read_results(path)
    _print_trials(console, results.trials, results.description.metric)
    _print_comparison(console, results)
    _print_transfer(console, results.transfer, results.description.metric)
    _print_test(console, results.description)
    if results.description.is_drawn:
        console.print(DRAWN)
    console.print(f"tables  {escape(str(path))}/*.parquet", soft_wrap=True)


def _print_trials(console: Console, trials: pd.DataFrame, metric: str) -> None:
    if trials.empty:
        return
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    table = _table(f"Best trials by {metric}  ({counts})")
    confirmed = ["confirmed"] if trials["confirmed_value"].notna().any() else []
    for column in ("trial", "level", "value", *confirmed, "accuracy", "folds", "settings"):
        table.add_column(column, justify="left" if column in ("level", "settings") else "right")
    complete = trials[trials["state"] == "COMPLETE"].sort_values("value", ascending=False)
    for _, row in complete.head(BEST_TRIALS).iterrows():
        numbers = [_share(row["value"]), *(_share(row["confirmed_value"]) for _ in confirmed)]
        numbers += [_share(row["accuracy"]), _number(row["folds_done"], ".0f")]
        table.add_row(f"{row['number']}", escape(row["level"]), *numbers, escape(settings_text(row)))
    console.print(table)


def _print_comparison(console: Console, results: Results) -> None:
    metric, reference = results.description.metric, results.description.reference
    for settings, rows in results.families():
        table = _table(f"Comparison, {TITLES[settings]}: {metric} pooled over folds")
        table.add_column("level")
        for column in (metric, "accuracy", "macro F1"):
            table.add_column(column, justify="right")
        table.add_column(escape(f"minus {reference}, points (95 %)"), justify="right")
        for column in ("p Holm", "MMACs", "ms"):
            table.add_column(column, justify="right")
        for _, row in rows.iterrows():
            table.add_row(
                escape(row["level"]),
                *(_share(row[name]) for name in (metric, "accuracy", "macro_f1")),
                _difference(row),
                _share(row["p_holm"]),
                _number(row["macs"] / 1e6, ".1f"),
                _number(row["latency_ms"], ".2f"),
            )
        console.print(table)
    if len(results.comparison):
        console.print("[dim]Differences are means over folds; their intervals allow for correlated folds.[/dim]")


def _print_transfer(console: Console, rows: pd.DataFrame, metric: str) -> None:
    if rows.empty:
        return
    table = _table(escape(f"Transfer to {rows['data'].iloc[0]}: pooled over folds"))
    for column in ("level", "way", "accuracy", metric, "minus scratch, points (95 %)"):
        table.add_column(column, justify="left" if column in ("level", "way") else "right")
    for _, row in rows.iterrows():
        scores = (_share(row["accuracy"]), _share(row[metric]))
        table.add_row(escape(row["level"]), row["way"].replace("_", "-"), *scores, _difference(row))
    console.print(table)


def _print_test(console: Console, description: Description) -> None:
    winner, test, times = description.winner, description.test, description.test_scored
    if winner is None or test is None:
        return
    console.print(
        f"[bold]Winner {escape(winner['level'])}[/bold]: on the locked test set, accuracy "
        f"{_share(test['accuracy'])}, balanced accuracy {_share(test['balanced_accuracy'])}. "
        + (
            "Only this score played no part in any choice."
            if times == 1
            else f"The set was scored {times} times as the study grew, so choices may depend on its scores."
        )
    )


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim")


def _share(value: float) -> str:
    return _number(value, ".3f")


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else f"{value:{form}}"


def _difference(row: pd.Series) -> str:
    if pd.isna(row["p_mcnemar"]):  # the reference is not tested against itself
        return ""
    mean, low, high = (100 * row[f"difference_reference{end}"] for end in ("", "_low", "_high"))
    return f"{mean:+.1f}" if pd.isna(low) else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
