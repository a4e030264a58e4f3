"""The console: headers, durations, and the progress of a running study."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from search.common.clock import Clock

PLAIN_LINE_EVERY_S = 20.0
PLAIN_WIDTH = 120


def make_console(*, stderr: bool = False) -> Console:
    """A console that is 120 columns wide if its output goes to a file."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def duration(seconds: float) -> str:
    """A duration in words, such as 45 s, 12 min or 3.4 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_header(console: Console, title: str, facts: Sequence[tuple[str, str]]) -> None:
    """Print a title, and facts by name below it."""
    console.print(f"[bold]{escape(title)}[/bold]")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, escape(value))
    console.print(table)


@contextmanager
def reading_progress(console: Console, n_images: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal while images are read; call what it gives with the number of images just read."""
    columns = (TextColumn("reading images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=n_images)
        yield lambda n_read: bar.advance(task, n_read)


class ProgressReporter:
    """The progress of a study: a live bar on a terminal, else a plain line every 20 s.

    Args:
        clock: counts the work; call `refresh` when it has counted some.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self.console, self.clock = console, clock
        self._phase, self._best = "", ""
        self._printed = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show a bar if there is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[info]}"),
        )
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=4) as self._bar:
            self._task = self._bar.add_task("", total=1.0, info="")
            self.refresh()
            yield
        self._bar = None

    def phase(self, name: str, what: str) -> None:
        """Start a phase."""
        self._phase, self._best = name, ""
        self.console.print(f"[bold]{escape(name)}[/bold]  {escape(what)}")
        self.refresh()

    def note(self, text: str) -> None:
        """Print something the user should read."""
        self.console.print(f"[yellow]note[/yellow]  {escape(text)}")

    def say(self, text: str) -> None:
        """Print a result."""
        self.console.print(f"  {escape(text)}")

    def best(self, text: str) -> None:
        """Show the best result so far."""
        if text != self._best:
            self._best = text
            self.refresh(now=True)

    def refresh(self, *, now: bool = False) -> None:
        """Show the progress; in plain lines only if one is due, or `now` if the last was not just printed."""
        if self._bar is not None:
            share, info = self._state()
            self._bar.update(self._task, completed=share, description=self._phase, info=escape(info))
        elif not self.console.is_terminal and self._phase:
            since = time.monotonic() - self._printed
            if since >= PLAIN_LINE_EVERY_S or (now and since >= 1):
                self._printed = time.monotonic()
                share, info = self._state()
                self.console.print(f"  {self._phase} {share:4.0%}  {escape(info)}")

    def _state(self) -> tuple[float, str]:
        """Share of the time that is behind, and what else there is to say."""
        left = self.clock.left_s()
        return self.clock.share, "  ".join(
            part for part in ("" if left is None else f"about {duration(left)} left", self._best) if part
        )
