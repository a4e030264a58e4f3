"""How well a study foretells its own duration, over ten different studies.

    python -m benchmarks.clock FOLDER [FOLDER ...]

Each study is the real command on one of the folders or on drawn cells, one after the other, on an otherwise idle
machine. Of each it is noted whether its duration lay in the range that it printed at first, and how far the time
that it showed as left was from the truth when 20 % and 50 % of it had passed.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError, StudyFailedError

app = make_app("benchmarks.clock")

# {0} and {1} are folders.
STUDIES = (
    "--space residual_placement --trials 48 --folds 5 --compare-settings 1",
    "--space residual_placement --data {0} --transfer-data {1} --trials 16 --folds 3 --compare-settings 1",
    "--space residual_placement --data {1} --trials 32 --folds 3",
    "--space residual_placement --data {0} --trials 24 --folds 3 --pruner none --compare-settings 1",
    "--space ablation --folds 6 --repeats 2 --compare-settings 1",
    "--space ablation --data {0} --transfer-data {1} --folds 3",
    "--space ablation --data {1} --transfer-data {0} --trials 16 --folds 3 --until-settled 3 --compare-settings 1",
    "--space wbcsnet2 --trials 24 --folds 8",
    "--space wbcsnet2 --data {0} --transfer-data {1} --trials 12 --folds 4",
    "--space shift --data {1} --trials 12 --folds 4",
)
SHARES = (0.2, 0.5)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a study told of its duration.

    Attributes:
        range_s: the first estimate.
        took_s: from the estimate to the end.
        off: by SHARES: the time left as shown, minus the true one, over the true one; None where none was shown.
    """

    range_s: tuple[float, float]
    took_s: float
    off: tuple[float | None, ...]

    @property
    def holds(self) -> bool:
        """Whether the study took as long as it had said."""
        return self.range_s[0] <= self.took_s <= self.range_s[1]


@app.default
def main(*folders: Path) -> None:
    """Run the studies, and print how long they took and what they had said.

    Args:
        folders: Folders of labelled images, at least two.
    """
    if len(folders) < 2:
        raise InputError("FOLDERS: needs at least two folders of images")
    console, told = make_console(), []
    table = Table(box=None, header_style="dim")
    for column in (
        "study",
        "first estimate",
        "took",
        "within",
        *(f"left at {share:.0%} off by" for share in SHARES),
    ):
        table.add_column(column, overflow="fold")
    for number, study in enumerate(STUDIES):
        given = [str(folders[(number + place) % len(folders)].resolve()) for place in range(2)]
        told.append(watch(study.format(*given).split()))
        found = told[-1]
        low, high = found.range_s
        off = ("–" if each is None else f"{each:+.0%}" for each in found.off)
        within = "yes" if found.holds else "no"
        table.add_row(escape(study), f"{low:.0f}–{high:.0f} s", f"{found.took_s:.0f} s", within, *off)
        console.print(f"{number + 1} of {len(STUDIES)}", soft_wrap=True)
    console.print(table)
    console.print(f"{sum(each.holds for each in told)} of {len(told)} within the first estimate")


def watch(options: Sequence[str]) -> Told:
    """Run a study with the given options, and note what it tells."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        command = [sys.executable, "-m", "benchmarks.clocked", str(record), *options, "--output", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        ended = time.time()
        if done.returncode:
            raise StudyFailedError(f"{' '.join(options)}: {done.stderr.strip()}")
        lines = [json.loads(line) for line in record.read_text().splitlines()]
    return told_of(lines, ended)


def told_of(lines: Sequence[dict[str, float]], ended: float) -> Told:
    """What the lines of `benchmarks.clocked` say, for a study that ended at a time."""
    first, shown = lines[0], lines[1:]
    took = ended - first["at"]
    off: list[float | None] = []
    for share in SHARES:
        due = first["at"] + share * took
        line = next(line for line in shown if line["at"] >= due)
        left = ended - line["at"]
        off.append(None if line["left"] is None else (line["left"] - left) / left)
    return Told(range_s=(first["low"], first["high"]), took_s=took, off=tuple(off))


if __name__ == "__main__":
    run_app(app)
