"""An audit in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from search.audit.audit import Audit
from search.audit.counts import class_counts
from search.audit.finding import Finding, Weight
from search.data.given import example_rows
from search.data.imageset import Listing

MOST_DETAILS = 5
_STYLES = {Weight.PROBLEM: "bold red", Weight.CHECK: "yellow", Weight.FINE: "green"}


def print_reading(console: Console, listing: Listing) -> None:
    """Print how a data set is read, and why, with some of its images."""
    console.print(f"[bold]{escape(listing.source)}[/bold] is read as")
    for line in listing.reading:
        console.print(f"  {escape(line)}")
    table = Table(box=None, show_header=False, padding=(0, 2))
    for row in example_rows(listing):
        table.add_row(*map(escape, row))
    console.print(table)


def print_audit(console: Console, audit: Audit) -> None:
    """Print class counts, then the findings, the gravest first."""
    _print_counts(console, audit)
    for finding in audit.findings:
        _print_finding(console, finding)


def _print_counts(console: Console, audit: Audit) -> None:
    photos = audit.photos
    table = Table(
        title="\nImages", title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False
    )
    table.add_column("class", overflow="fold")
    for name in photos.sources:
        table.add_column(escape(name), justify="right", overflow="fold")
    counts = class_counts(photos)
    for name, row in zip(photos.classes, counts.tolist(), strict=True):
        table.add_row(escape(name), *(f"{count:,}" for count in row))
    table.add_row("[dim]all[/dim]", *(f"{count:,}" for count in counts.sum(axis=0).tolist()))
    console.print(table)


def _print_finding(console: Console, finding: Finding) -> None:
    console.print()
    label = f"{finding.weight:<7}"
    console.print(_hanging(f"[{_STYLES[finding.weight]}]{label}[/]", f"[bold]{escape(finding.title)}[/bold]"))
    for line in _shortened(finding.details, MOST_DETAILS):
        console.print(Padding(escape(line), (0, 0, 0, 9), expand=False))
    if finding.advice:
        console.print(_hanging(" " * len(label), f"[dim]→ {escape(finding.advice)}[/dim]"))


def _shortened(lines: Sequence[str], most: int) -> list[str]:
    """The first lines, and how many more there are; a single one is shown in place of its count."""
    if len(lines) <= most + 1:
        return list(lines)
    return [*lines[:most], f"and {len(lines) - most:,} more"]


def _hanging(label: str, text: str) -> Table:
    """A label and a text that wraps beside it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(label, text)
    return table
