"""What people see of a shift matrix: figures, page and terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.analysis.crossed import SCORES, SHARES
from search.common.files import write_text
from search.report.figures.saving import save
from search.report.format import NOTHING, day, metric_name, number_text
from search.report.page.figurefiles import read_figures
from search.report.page.html import content_policy, page_style, template_environment
from search.shift.figure import draw_shift

HERE = Path(__file__).parent
MAIN = "balanced_accuracy"
_CAPTION = (
    "Rows: what the networks were trained on; columns: what they are tested on. The diagonal is cross-validated: "
    "no network is scored on an image that it was trained on. Compare within a column: its images are the same."
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A matrix as texts: a name and a text for each tested laboratory in every row."""

    title: str
    names: list[str]
    rows: list[tuple[str, list[str]]]


def show(console: Console, folder: Path, matrix: pd.DataFrame, description: Mapping[str, Any]) -> None:
    """Draw the figures and the page of a matrix into its folder, and print it.

    Args:
        matrix: as `search.shift.matrix.shift_matrix` gives it.
        description: as `search.shift.record.Record.open` gives it.
    Raises:
        StudyFailedError: a file cannot be written.
    """
    figures = [file for metric in SHARES for file in save(draw_shift(matrix, metric), folder / "figures", metric)]
    page = folder / "shift.html"
    write_text(page, build_page(matrix, description, figures))
    for grid in grids(matrix):
        console.print(_printed(grid))
    for line in answer(matrix):
        console.print(escape(line))
    console.print(f"[bold]page[/bold]  {escape(str(page))}", soft_wrap=True)


def build_page(matrix: pd.DataFrame, description: Mapping[str, Any], figures: list[Path]) -> str:
    """The page: one HTML file that needs no other file; all names in it are escaped."""
    style = page_style()
    captions = {metric: (f"{_title(metric)} by laboratory", _CAPTION) for metric in SHARES}
    environment = description["environment"]
    return (
        template_environment(HERE)
        .get_template("page.html")
        .render(
            policy=content_policy(style),
            style=Markup(style),  # this program's own file
            names=list(dict.fromkeys(matrix["trained_on"])),
            started=day(description["started"]),
            answer=list(answer(matrix)),
            figures=read_figures(figures, captions),
            main=MAIN,
            grids=list(grids(matrix)),
            laboratories=description["laboratories"],
            scored=dict(zip(matrix["tested_on"], matrix["scored_classes"], strict=True)),
            network=description["network"],
            settings=", ".join(f"{name} {value}" for name, value in description["configuration"].items()),
            seeds=description["seeds"],
            **description["arguments"],
            versions=", ".join(f"{name} {version}" for name, version in environment["versions"].items()),
            commit=environment["commit"] or NOTHING,
        )
    )


def answer(matrix: pd.DataFrame) -> Iterator[str]:
    """What is lost on another laboratory's images, in sentences."""
    own = matrix[matrix["trained_on"] == matrix["tested_on"]]
    others = matrix[matrix["trained_on"] != matrix["tested_on"]]
    yield (
        f"Balanced accuracy is {_range(own[MAIN])} on images of the networks' own laboratory, cross-validated, "
        f"and {_range(others[MAIN])} on those of another."
    )
    worse = int((others[f"{MAIN}_difference_high"] < 0).sum())
    better = int((others[f"{MAIN}_difference_low"] > 0).sum())
    yield (
        f"In {worse} of {len(others)} pairs of laboratories, networks from elsewhere are worse than the tested "
        f"laboratory's own, in {better} better; in {len(others) - worse - better}, the interval holds zero."
    )


def grids(matrix: pd.DataFrame) -> Iterator[Grid]:
    """All scores with their intervals, and what networks from elsewhere lose."""
    for metric in (MAIN, *(name for name in SCORES if name != MAIN)):
        yield _grid(matrix, metric, f"{_title(metric)} (95 % interval)", ".2f")
    title = f"{_title(MAIN)} minus that of the tested laboratory's own networks"
    yield _grid(matrix, f"{MAIN}_difference", f"{title} (95 % interval)", "+.2f")


def _grid(matrix: pd.DataFrame, column: str, title: str, form: str) -> Grid:
    names = list(dict.fromkeys(matrix["trained_on"]))
    cells = matrix.set_index(["trained_on", "tested_on"])
    rows = []
    for trained_on in names:
        several = (cells.loc[(trained_on, tested_on)] for tested_on in names)
        rows.append((trained_on, [_text(cell, column, form) for cell in several]))
    return Grid(title=title, names=names, rows=rows)


def _text(cell: pd.Series, column: str, form: str) -> str:
    if pd.isna(cell[column]):
        return NOTHING
    value, low, high = (number_text(cell[f"{column}{end}"], form) for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def _title(metric: str) -> str:
    name = metric_name(metric)
    return name[0].upper() + name[1:]


def _range(values: "pd.Series[float]") -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


def _printed(grid: Grid) -> Table:
    table = Table(title=grid.title, title_justify="left", box=None, header_style="dim")
    table.add_column("trained on \\ tested on", overflow="fold")
    for name in grid.names:
        table.add_column(escape(name), justify="right", overflow="fold")
    for name, texts in grid.rows:
        table.add_row(escape(name), *texts)
    return table
