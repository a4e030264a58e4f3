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
        total: maximum cost of the study, in any unit. Cost that turns out to be unnecessary is credited as done,
            so that the bar ends full; the time left is estimated from the speed of the work alone.
    """

    def __init__(self, console: Console, total: float) -> None:
        self.console = console
        self._total, self._done, self._worked = total, 0.0, 0.0
        self._phase, self._best = "", ""
        self._started = self._printed = time.monotonic()
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
            self._task = self._bar.add_task("", total=self._total, info="")
            self._show()
            yield
        self._bar = None

    def phase(self, name: str, what: str) -> None:
        """Start a phase."""
        self._phase, self._best = name, ""
        self.console.print(f"[bold]{escape(name)}[/bold]  {escape(what)}")
        self._show()

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
            self._show(now=True)

    def worked(self, cost: float) -> None:
        """Count finished work."""
        self._worked += cost
        self.credit(cost)

    def credit(self, cost: float) -> None:
        """Count work that turned out to be unnecessary."""
        self._done = min(self._total, self._done + cost)
        self._show()

    def reach(self, cost: float) -> None:
        """Count everything up to a cost as done; what was not worked of it is no longer needed."""
        self.credit(max(0.0, cost - self._done))

    def time_left_s(self) -> float | None:
        """Seconds to the end if no more work is saved; None before any work is done."""
        elapsed = time.monotonic() - self._started
        return elapsed * (self._total - self._done) / self._worked if self._worked else None

    def _show(self, *, now: bool = False) -> None:
        left = self.time_left_s()
        info = "  ".join(part for part in (f"≤ {duration(left)} left" if left else "", self._best) if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=self._phase, info=escape(info))
        elif not self.console.is_terminal and self._worked:
            due = time.monotonic() - self._printed >= PLAIN_LINE_EVERY_S
            if due or (now and time.monotonic() - self._printed >= 1):
                self._printed = time.monotonic()
                self.console.print(f"  {self._phase} {self._done / self._total:4.0%}  {escape(info)}")
