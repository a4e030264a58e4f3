"""Measures of a pattern, computed from its events; the same for all patterns."""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.patterns.workload import EVENTS, SLOTS, Workload
from search.common.errors import StudyFailedError

# Reading the memory of Ray's twenty processes takes 40 ms of a training core, so it gets a fiftieth of the time.
PAUSE = 50


@dataclass(frozen=True, kw_only=True)
class Event:
    """Start and end of an epoch's training and end of its validation; all by time.time()."""

    trial: int
    epoch: int
    started: float
    ended: float
    validated: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a pattern; `lost_per_trial_s` is NaN if every slot had one trial."""

    images_per_s: float
    first_result_s: float
    lost_per_trial_s: float
    peak_memory_mb: float


def run_pattern(pattern: str, workload: Workload) -> Measures:
    """Run a pattern in a process of its own and measure it.

    Raises:
        StudyFailedError: it failed or skipped trials or epochs; its output is in `FOLDER/log`.
    """
    log = workload.folder / "log"
    began, peak_mb = time.time(), 0.0
    with log.open("w") as output:
        command = [sys.executable, "-m", "benchmarks.patterns", pattern, str(workload.folder)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                looked = time.monotonic()
                peak_mb = max(peak_mb, memory_mb(process.pid))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE * (time.monotonic() - looked))
        finally:
            process.terminate()  # if the benchmark is interrupted
            process.wait()
    if process.returncode:
        raise StudyFailedError(f"{pattern} exited with {process.returncode}: {_last_line(log)}")
    events = [Event(**json.loads(line)) for line in (workload.folder / EVENTS).read_text().splitlines()]
    wanted = len(workload.points) * workload.epochs
    if len(events) != wanted:
        raise StudyFailedError(f"{pattern} trained {len(events)} of {wanted} epochs: {_last_line(log)}")
    n_train, slots = len(workload.images().train), json.loads((workload.folder / SLOTS).read_text())
    return Measures(
        images_per_s=images_per_s(events, n_train),
        first_result_s=min(event.validated for event in events) - began,
        lost_per_trial_s=lost_per_trial_s(events, slots),
        peak_memory_mb=peak_mb,
    )


def images_per_s(events: Sequence[Event], n_train: int) -> float:
    """Training images per second between the first and the last step of all trials."""
    took_s = max(event.ended for event in events) - min(event.started for event in events)
    return n_train * len(events) / took_s


def lost_per_trial_s(events: Sequence[Event], slots: int) -> float:
    """Mean time from a trial's last validation to the first step of the next trial in its slot.

    Events do not say which trial followed which, and the mean does not depend on it: each trial is taken as the
    successor of the one that ended first.
    """
    trials = {event.trial for event in events}
    starts = sorted(min(event.started for event in events if event.trial == trial) for trial in trials)
    ends = sorted(max(event.validated for event in events if event.trial == trial) for trial in trials)
    lost = [start - end for start, end in zip(starts[slots:], ends, strict=False)]
    return statistics.mean(lost) if lost else math.nan


def memory_mb(root: int) -> float:
    """Memory of a process and its descendants; shared pages are counted once."""
    return sum(map(process_mb, process_tree(root)))


def process_tree(root: int) -> Iterator[int]:
    """Ids of a process and its descendants."""
    yield root
    for thread in Path(f"/proc/{root}/task").glob("*"):
        try:
            children = (thread / "children").read_text().split()
        except OSError:  # it has just exited
            continue
        for child in children:
            yield from process_tree(int(child))


def process_mb(process: int) -> float:
    """Proportional memory of a process; 0 if it has just exited."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:")), 0.0)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
