"""The trainings of a shift matrix from the command: announced, run, kept, and resumed."""

import shlex
import time
from pathlib import Path
from typing import Any

from search.common.clock import Clock
from search.common.commandline import Interrupted, command_given
from search.common.console import ProgressReporter, make_console, print_header
from search.shift.laboratories import Laboratory, Pool
from search.shift.matrix import Finished
from search.shift.network import TrainedKind
from search.shift.record import Record
from search.shift.trainings import Probabilities, Training, run_trainings

PHASE, NETWORK = "train", "network"  # one phase, and one network of a single speed


def question(
    images: Pool, kind: TrainedKind, trainings: list[Training], folds: int, least_images: int
) -> dict[str, Any]:
    """What determines the numbers of the matrix, and what the page says of them; without paths."""
    epochs = {each.laboratory: each.task.configuration.training.epochs for each in trainings}
    return {
        "laboratories": {
            each.name: {
                "images": dict(zip(images.classes, each.counts.tolist(), strict=True)),
                "left_out": each.left_out,
                "grouped": each.name in images.grouped,
                "epochs": epochs[each.name],
                "fingerprint": each.fingerprint,
            }
            for each in images.laboratories
        },
        "network": kind.name,
        "configuration": kind.configuration.fields(),
        "arguments": {"folds": folds, "least_images": least_images},
    }


def train(record: Record, images: Pool, kind: TrainedKind, trainings: list[Training]) -> list[Finished]:
    """Train what the record lacks, and return all, in the order of the plan.

    Raises:
        StudyFailedError: a training failed.
        Interrupted: the user stopped it.
    """
    console = make_console()
    print_header(console, "wbc-search shift", _facts(images, kind, trainings, record.folder))
    found = {each.name: record.finished(each, images) for each in trainings}
    missing = [each for each in trainings if found[each.name] is None]
    clock = Clock({PHASE: {NETWORK: sum(each.cost for each in trainings)}})
    reporter = ProgressReporter(console, clock)
    for laboratory in images.laboratories:
        for line in _notes(images, laboratory):
            reporter.note(line)
    if len(missing) < len(trainings):
        reporter.say(f"{len(trainings) - len(missing)} of {len(trainings)} trainings are finished")
        finished = sum(each.cost for each in trainings if found[each.name] is not None)
        clock.done_before(PHASE, NETWORK, finished)
    last = time.monotonic()

    def done(training: Training, probabilities: Probabilities) -> None:
        record.keep(training, images, probabilities)
        found[training.name] = probabilities
        nonlocal last
        before, last = last, time.monotonic()
        clock.worked(PHASE, NETWORK, training.cost, last - before)
        reporter.refresh()

    if missing:
        try:
            with reporter.live():
                reporter.phase(PHASE, f"{len(missing)} networks")
                run_trainings(missing, images, kind.code, done)
        except KeyboardInterrupt:
            n = sum(value is not None for value in found.values())
            raise Interrupted(
                f"interrupted; {n} of {len(trainings)} trainings are kept in {shlex.quote(str(record.folder))}\n"
                f"  go on: {command_given('search.shift')}"
            ) from None
    return [
        Finished(training=each, probabilities=probabilities)
        for each in trainings
        if (probabilities := found[each.name]) is not None
    ]


def _facts(images: Pool, kind: TrainedKind, trainings: list[Training], folder: Path) -> list[tuple[str, str]]:
    model = kind.configuration.model
    epochs = {each.laboratory: each.task.configuration.training.epochs for each in trainings}
    return [
        *((each.name, f"{each.counts.sum()} images, {epochs[each.name]} epochs") for each in images.laboratories),
        ("classes", ", ".join(images.classes)),
        ("network", f"{kind.name}: {type(model).__name__}, {model.input_px} px"),
        ("trainings", str(len(trainings))),
        ("folder", str(folder)),
    ]


def _notes(images: Pool, laboratory: Laboratory) -> list[str]:
    lines = [f"{laboratory.name}: {note}" for note in laboratory.notes]
    if laboratory.left_out:
        classes = ", ".join(f"{name} ({n})" for name, n in laboratory.left_out.items())
        lines.append(f"{laboratory.name}: left out classes that another laboratory lacks: {classes}")
    single = [name for name, n in zip(images.classes, laboratory.counts, strict=True) if n == 1]
    if single:
        lines.append(f"{laboratory.name}: only one image of {', '.join(single)}: it is trained, but never scored")
    return lines
