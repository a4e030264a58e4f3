"""A table for a terminal of any width: columns give way by importance, and a name is folded, never cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # between two columns


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        rank: columns of the highest rank are left out first, together; those of rank 0 never.
        least: columns of the terminal that its text can be folded to; None: numbers, which are never folded.
    """

    name: str
    rank: int = 0
    least: int | None = None


def print_table(console: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as the console allows, and say which columns are left out.

    Args:
        title: as markup.
        rows: cells as markup, one for each column.
    """
    kept = _fitting(columns, rows, console.width)
    console.print(f"\n[bold]{title}[/bold]")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for place in kept:
        column = columns[place]
        is_number = column.least is None
        table.add_column(column.name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(row[place] for place in kept))
    console.print(table)
    if len(kept) < len(columns):
        names = ", ".join(column.name for place, column in enumerate(columns) if place not in kept)
        console.print(f"[dim]Left out in a terminal this narrow: {names}.[/dim]")


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Places of the columns that fit into a width, the least important given up first."""
    needed = []
    for place, column in enumerate(columns):
        longest = max(Text.from_markup(text).cell_len for text in [column.name, *(row[place] for row in rows)])
        needed.append(longest if column.least is None else min(longest, column.least))
    kept = list(range(len(columns)))
    while sum(needed[place] for place in kept) + GAP * (len(kept) - 1) > width:
        highest = max(columns[place].rank for place in kept)
        if highest == 0:
            break
        kept = [place for place in kept if columns[place].rank < highest]
    return kept
