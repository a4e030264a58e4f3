"""A study's answer and tables in the terminal."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.analysis.collapse import collapsed_folds
from search.analysis.outcome import Outcome
from search.analysis.verdict import Finding, Verdict, verdict
from search.analysis.words import level_name, metric_words, p_phrase, p_text
from search.records.arguments import SHIFT_SCORE
from search.records.description import Description
from search.records.results import Results, read_results
from search.records.schema import Phase
from search.report.format import at_home, score_text, setting_name, settings_text, way_name
from search.report.leaderboard import leaderboard

BEST_TRIALS = 10
DRAWN = "[yellow]note[/yellow]  synthetic cells are a demonstration, not evidence about blood cells"


def print_results(console: Console, path: Path) -> None:
    """Print what a study's folder holds so far: its answer first, then the tables behind it.

    Raises:
        InputError: no study in the folder, or a file that cannot be read; names it.
    """
    results = read_results(path)
    found = verdict(results)
    if found is not None:
        _print_answer(console, found)
        _print_effects(console, results, found)
        _print_levels(console, results, found)
        _print_transfer(console, results, found)
        _print_untouched(console, results)
        _print_shift(console, results)
        _print_test(console, results.description)
    _print_trials(console, results)
    if results.description.is_drawn:
        console.print(DRAWN)
    console.print(f"tables  {escape(str(path))}/*.parquet", soft_wrap=True)


def _print_answer(console: Console, found: Verdict) -> None:
    console.print(f"[bold]{escape(found.headline)}[/bold]")
    for sentence in found.reasons:
        console.print(escape(sentence))
    for warning in found.warnings:
        console.print(f"[yellow]note[/yellow]  {escape(warning)}")


def _print_effects(console: Console, results: Results, found: Verdict) -> None:
    if not found.main:
        return
    _print_family(console, f"Effects and differences: {metric_words(results.description.metric)}", found.main)
    size = results.description.arguments.margin
    margin = f"within {size:g} point" + "s" * (size != 1)
    depends = found.depends_on_setting
    test = "" if pd.isna(depends) else f" Test of whether they depend on the setting: {p_phrase(depends)}."
    console.print(f"[dim]Intervals and p hold for all of them at once; same: {margin}.{test}[/dim]")


def _print_family(console: Console, title: str, findings: Sequence[Finding]) -> None:
    table = _table(escape(title))
    table.add_column("", no_wrap=True)
    for column in ("points", "95 %", "p"):
        table.add_column(column, justify="right")
    table.add_column("outcome")
    for finding in findings:
        table.add_row(escape(finding.contrast), *_numbers(finding), _outcome(finding))
    console.print(table)


def _print_levels(console: Console, results: Results, found: Verdict) -> None:
    description, metric = results.description, results.description.metric
    predictions = results.tables["predictions"]
    collapsed = collapsed_folds(predictions[predictions["phase"] == Phase.COMPARE])
    rows = results.at_settings
    at = {(row["level"], int(row["setting"])): row[metric] for _, row in rows.iterrows()}
    settings = sorted({setting for _, setting in at})
    table = _table(f"Levels: {metric_words(metric)} pooled over folds")
    table.add_column("level", no_wrap=True)
    of_settings = [setting_name(description, setting) for setting in settings] if len(settings) > 1 else []
    for column in ("all settings", *of_settings, "MMACs", "ms"):
        table.add_column(column, justify="right")
    for _, row in leaderboard(results, found).iterrows():
        level = row["level"]
        scores = [
            f"{_share(at.get((level, setting)))}{'*' * ((level, setting) in collapsed)}" for setting in settings
        ]
        table.add_row(
            escape(level),
            _share(row["estimate"]),
            *scores[: len(of_settings)],
            _number(row["macs"] / 1e6, ".1f"),
            _number(row["latency_ms"], ".2f"),
        )
    console.print(table)
    if collapsed:
        folds = ", ".join(
            f"{level} at {setting_name(description, n)} in {k}" for (level, n), k in collapsed.items()
        )
        console.print(f"[yellow]*[/yellow] predicts one class alone: {escape(folds)} folds")


def _print_transfer(console: Console, results: Results, found: Verdict) -> None:
    rows, metric = results.transfer, results.description.metric
    if rows.empty:
        return
    table = _table(escape(f"Transfer to {rows['data'].iloc[0]}: {metric_words(metric)}, and points over scratch"))
    table.add_column("level", overflow="fold")
    table.add_column("way", no_wrap=True)
    for column in ("score", "points", "95 %", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    own = {(f.level, f.way): f for f in found.transfer if f.metric == metric and f.contrast.endswith("− scratch")}
    for _, row in rows.iterrows():
        finding = own.get((row["level"], row["way"]))
        table.add_row(
            escape(row["level"]),
            way_name(row["way"]),
            _share(row[metric]),
            *(("", "", "") if finding is None else _numbers(finding)),
        )
    console.print(table)


def _print_untouched(console: Console, results: Results) -> None:
    rows, metric = results.untouched, results.description.metric
    if rows.empty:
        return
    name, home = rows["data"].iloc[0], at_home(results, metric)
    table = _table(escape(f"Untouched on {name}: {metric_words(metric)} of networks that never saw it"))
    table.add_column("level", overflow="fold")
    for column in ("networks", "score (95 %)", "at home"):
        table.add_column(column, justify="right", no_wrap=True)
    for _, row in rows.iterrows():
        table.add_row(
            escape(row["level"]),
            f"{row['n_networks']:.0f}",
            score_text(row, metric),
            _share(home.get(row["level"])),
        )
    for _, row in results.saved_untouched.iterrows():
        what = f"the saved network, {way_name(row['way'])}"
        table.add_row(escape(what), f"{row['n_networks']:.0f}", score_text(row, metric), "")
    console.print(table)
    console.print(
        f"[dim]{rows['n_images'].iloc[0]:.0f} images of the classes that both have. Intervals are over networks "
        "and images; the saved network's are over images alone.[/dim]"
    )


def _print_shift(console: Console, results: Results) -> None:
    """Further laboratories, as far as they were scored."""
    metric = results.description.metric
    for name, rows in results.shift.groupby("data", sort=False):
        table = _table(escape(f"Untouched on {name}: {metric_words(metric)} of networks never chosen by it"))
        table.add_column("level", overflow="fold")
        for column in ("networks", "images", "score (95 %)"):
            table.add_column(column, justify="right", no_wrap=True)
        for _, row in rows.iterrows():
            numbers = (f"{row['n_networks']:.0f}", f"{row['n_images']:.0f}", score_text(row, metric))
            table.add_row(escape(row["level"]), *numbers)
        console.print(table)


def _print_test(console: Console, description: Description) -> None:
    winner, test, times = description.winner, description.test, description.test_scored
    if winner is None or test is None:
        return
    console.print(
        f"\n[bold]Best estimate: {escape(level_name(description.factor, winner['level']))}[/bold]. On the locked "
        f"test set: accuracy {_share(test['accuracy'])}, balanced accuracy {_share(test['balanced_accuracy'])}. "
        + (
            "Only this score played no part in any choice."
            if times == 1
            else f"The set was scored {times} times as the study grew, so choices may depend on its scores."
        )
    )


def _print_trials(console: Console, results: Results) -> None:
    trials, metric = results.trials, results.description.metric
    if trials.empty:
        return
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    table = _table(f"Best trials by {metric_words(metric)}  ({counts})")
    confirmed = ["confirmed"] if trials["confirmed_value"].notna().any() else []
    shift = ["elsewhere"] if trials[SHIFT_SCORE].notna().any() else []
    for column in ("trial", "level", "value", *confirmed, "accuracy", *shift, "folds", "settings"):
        table.add_column(column, justify="left" if column in ("level", "settings") else "right")
    complete = trials[trials["state"] == "COMPLETE"].sort_values("value", ascending=False)
    for _, row in complete.head(BEST_TRIALS).iterrows():
        numbers = [_share(row["value"]), *(_share(row["confirmed_value"]) for _ in confirmed)]
        numbers += [_share(row["accuracy"]), *(_share(row[SHIFT_SCORE]) for _ in shift)]
        numbers += [_number(row["folds_done"], ".0f")]
        table.add_row(f"{row['number']}", escape(row["level"]), *numbers, escape(settings_text(row)))
    console.print(table)


def _table(title: str) -> Table:
    return Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False
    )


def _outcome(finding: Finding) -> str:
    return "same" if finding.outcome == Outcome.SAME else finding.outcome or "too few data"


def _numbers(finding: Finding) -> tuple[str, str, str]:
    """Estimate, interval and p value."""
    return finding.text(finding.estimate), finding.interval, "" if pd.isna(finding.p) else p_text(finding.p)


def _share(value: float | None) -> str:
    return _number(value, ".3f")


def _number(value: float | None, form: str) -> str:
    return "" if value is None or pd.isna(value) else f"{value:{form}}"
