"""A study's tables in the terminal."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.records.ledger import read_table
from search.records.studyfolder import StudyFolder
from search.report.format import settings_text

BEST_TRIALS = 10


def print_results(console: Console, path: Path) -> None:
    """Print what a study's folder holds so far: trials, comparison, transfer, test score, files.

    Raises:
        InputError: no study there, or a table that cannot be read.
    """
    folder = StudyFolder.open(path)
    folder.require("arguments", "reference", "data")
    metric = folder.description["arguments"]["metric"]
    _print_trials(console, read_table(path, "trials"), metric)
    _print_comparison(console, read_table(path, "comparison"), metric, folder.description)
    _print_transfer(console, read_table(path, "transfer"), metric)
    _print_test(console, folder.description)
    if any(name.startswith("synthetic") for name in folder.description["data"]):
        console.print("[yellow]note[/yellow]  drawn cells are a demonstration and no evidence about blood cells")
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
        numbers += [_share(row["accuracy"]), f"{row['folds_done']}"]
        table.add_row(f"{row['number']}", escape(row["level"]), *numbers, escape(settings_text(row)))
    console.print(table)


def _print_comparison(console: Console, rows: pd.DataFrame, metric: str, description: dict[str, object]) -> None:
    if rows.empty:
        return
    reference = description["reference"]
    for settings, title in (("tuned", "each level at its best settings"), ("equal", "all at the same settings")):
        chosen = rows[rows["settings"].eq(settings) | (rows["settings"].isna() & (settings == "tuned"))]
        if chosen.empty:
            continue
        table = _table(f"Comparison, {title}: {metric} pooled over folds")
        table.add_column("level")
        for column in (metric, "accuracy", "macro F1"):
            table.add_column(column, justify="right")
        table.add_column(escape(f"minus {reference}, points (95 %)"), justify="right")
        for column in ("p Holm", "MMACs", "ms"):
            table.add_column(column, justify="right")
        for _, row in chosen.iterrows():
            table.add_row(
                escape(row["level"]),
                *(_share(row[name]) for name in (metric, "accuracy", "macro_f1")),
                _difference(row),
                "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.3f}",
                f"{row['macs'] / 1e6:.1f}",
                f"{row['latency_ms']:.2f}",
            )
        console.print(table)
    console.print("[dim]The difference is the mean over folds, with the variance of correlated folds.[/dim]")


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


def _print_test(console: Console, description: dict[str, object]) -> None:
    winner, test = description.get("winner"), description.get("test")
    if isinstance(winner, dict) and isinstance(test, dict):
        console.print(
            f"[bold]Winner {escape(winner['level'])}[/bold]: on the locked test set, accuracy "
            f"{_share(test['accuracy'])}, balanced accuracy {_share(test['balanced_accuracy'])}. "
            + _freedom(description)
        )


def _freedom(description: dict[str, object]) -> str:
    times = description.get("test_scored", 1)
    if times == 1:
        return "Only this score is free of choice."
    return f"The set was scored {times} times as the study grew, so this score is not quite free of choice."


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim")


def _share(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def _difference(row: pd.Series) -> str:
    if pd.isna(row["p_mcnemar"]):  # what is compared with itself is not tested
        return ""
    mean, low, high = (100 * row[f"difference_reference{end}"] for end in ("", "_low", "_high"))
    return f"{mean:+.1f}" if pd.isna(low) else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
