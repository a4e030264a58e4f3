"""A study's answer and tables in the terminal."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from search.analysis.collapse import collapsed_folds
from search.analysis.outcome import Outcome
from search.analysis.verdict import Finding, Verdict, verdict
from search.analysis.words import level_name, metric_words, p_phrase, p_text
from search.records.arguments import SHIFT_SCORE
from search.records.description import Description
from search.records.results import Results, read_results
from search.records.schema import Phase
from search.report.columns import Column, print_table
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
    columns = [_name(""), *_columns("points", "95 %"), Column(name="p", rank=1), Column(name="outcome", least=7)]
    rows = [(escape(finding.contrast), *_numbers(finding), _outcome(finding)) for finding in findings]
    print_table(console, escape(title), columns, rows)


def _print_levels(console: Console, results: Results, found: Verdict) -> None:
    description, metric = results.description, results.description.metric
    predictions = results.tables["predictions"]
    collapsed = collapsed_folds(predictions[predictions["phase"] == Phase.COMPARE])
    rows = results.at_settings
    at = {(row["level"], int(row["setting"])): row[metric] for _, row in rows.iterrows()}
    settings = sorted({setting for _, setting in at})
    of_settings = [setting_name(description, setting) for setting in settings] if len(settings) > 1 else []
    columns = [
        _name("level"),
        *_columns("all settings"),
        *_columns(*of_settings, rank=3),
        Column(name="MMACs", rank=1),
        Column(name="ms", rank=2),
    ]
    table = []
    for _, row in leaderboard(results, found).iterrows():
        level = row["level"]
        scores = [
            f"{_share(at.get((level, setting)))}{'*' * ((level, setting) in collapsed)}" for setting in settings
        ]
        table.append(
            (
                escape(level),
                _share(row["estimate"]),
                *scores[: len(of_settings)],
                _number(row["macs"] / 1e6, ".1f"),
                _number(row["latency_ms"], ".2f"),
            )
        )
    print_table(console, f"Levels: {metric_words(metric)} pooled over folds", columns, table)
    if collapsed:
        folds = ", ".join(
            f"{level} at {setting_name(description, n)} in {k}" for (level, n), k in collapsed.items()
        )
        console.print(f"[yellow]*[/yellow] predicts one class alone: {escape(folds)} folds")


def _print_transfer(console: Console, results: Results, found: Verdict) -> None:
    rows, metric = results.transfer, results.description.metric
    if rows.empty:
        return
    columns = [
        _name("level"),
        Column(name="way", least=10),
        *_columns("score"),
        *_columns("points", "95 %", rank=1),
        Column(name="p", rank=2),
    ]
    table: list[tuple[str, ...]] = []
    own = {(f.level, f.way): f for f in found.transfer if f.metric == metric and f.contrast.endswith("− scratch")}
    for _, row in rows.iterrows():
        finding = own.get((row["level"], row["way"]))
        numbers = ("", "", "") if finding is None else _numbers(finding)
        table.append((escape(row["level"]), way_name(row["way"]), _share(row[metric]), *numbers))
    title = f"Transfer to {rows['data'].iloc[0]}: {metric_words(metric)}, and points over scratch"
    print_table(console, escape(title), columns, table)


def _print_untouched(console: Console, results: Results) -> None:
    rows, metric = results.untouched, results.description.metric
    if rows.empty:
        return
    name, home = rows["data"].iloc[0], at_home(results, metric)
    columns = [
        _name("level"),
        Column(name="networks", rank=2),
        *_columns("score (95 %)"),
        Column(name="at home", rank=1),
    ]
    table = [
        (escape(row["level"]), f"{row['n_networks']:.0f}", score_text(row, metric), _share(home.get(row["level"])))
        for _, row in rows.iterrows()
    ]
    for _, row in results.saved_untouched.iterrows():
        what = f"the saved network, {way_name(row['way'])}"
        table.append((escape(what), f"{row['n_networks']:.0f}", score_text(row, metric), ""))
    title = f"Untouched on {name}: {metric_words(metric)} of networks that never saw it"
    print_table(console, escape(title), columns, table)
    console.print(
        f"[dim]{rows['n_images'].iloc[0]:.0f} images of the classes that both have. Intervals are over networks "
        "and images; the saved network's are over images alone.[/dim]"
    )


def _print_shift(console: Console, results: Results) -> None:
    """Further laboratories, as far as they were scored."""
    metric = results.description.metric
    for name, rows in results.shift.groupby("data", sort=False):
        columns = [_name("level"), *_columns("networks", "images", rank=1), *_columns("score (95 %)")]
        table = [
            (escape(row["level"]), f"{row['n_networks']:.0f}", f"{row['n_images']:.0f}", score_text(row, metric))
            for _, row in rows.iterrows()
        ]
        title = f"Untouched on {name}: {metric_words(metric)} of networks never chosen by it"
        print_table(console, escape(title), columns, table)


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
    confirmed = [Column(name="confirmed", rank=1)] if trials["confirmed_value"].notna().any() else []
    shift = [Column(name="elsewhere", rank=2)] if trials[SHIFT_SCORE].notna().any() else []
    columns = [
        *_columns("trial"),
        _name("level"),
        *_columns("value"),
        *confirmed,
        Column(name="accuracy", rank=3),
        *shift,
        Column(name="folds", rank=4),
        Column(name="settings", least=28),
    ]
    table = []
    complete = trials[trials["state"] == "COMPLETE"].sort_values("value", ascending=False)
    for _, row in complete.head(BEST_TRIALS).iterrows():
        numbers = [_share(row["value"]), *(_share(row["confirmed_value"]) for _ in confirmed)]
        numbers += [_share(row["accuracy"]), *(_share(row[SHIFT_SCORE]) for _ in shift)]
        numbers += [_number(row["folds_done"], ".0f")]
        table.append((f"{row['number']}", escape(row["level"]), *numbers, escape(settings_text(row))))
    print_table(console, f"Best trials by {metric_words(metric)}  ({counts})", columns, table)


def _name(title: str) -> Column:
    return Column(name=title, least=16)


def _columns(*names: str, rank: int = 0) -> list[Column]:
    return [Column(name=name, rank=rank) for name in names]


def _outcome(finding: Finding) -> str:
    return "same" if finding.outcome == Outcome.SAME else finding.outcome or "too few data"


def _numbers(finding: Finding) -> tuple[str, str, str]:
    """Estimate, interval and p value."""
    return finding.text(finding.estimate), finding.interval, "" if pd.isna(finding.p) else p_text(finding.p)


def _share(value: float | None) -> str:
    return _number(value, ".3f")


def _number(value: float | None, form: str) -> str:
    return "" if value is None or pd.isna(value) else f"{value:{form}}"
