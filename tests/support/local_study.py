"""A study after its search whose networks are trained in this process, without Ray: comparison, test, transfer."""

import io
import shutil
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny_study import COLOURS

from search.common.console import ProgressReporter
from search.data.imageset import ImageSet
from search.records.arguments import Arguments
from search.records.ledger import Ledger
from search.records.observers import Observers
from search.records.studyfolder import StudyFolder
from search.space import Configuration, Profile, Space, TrainingConfig
from search.study import transferring
from search.study.comparing import compare, expect_winner, winner
from search.study.context import Study
from search.study.forecast import clock_of
from search.study.plan import Request, make_plan
from search.study.untouched import shift_rows
from search.training.device import Device
from search.training.folds import run_task
from search.training.types import Images
from search.tuning.pool import JobStep
from wbcmodels.config import ModelConfig

SIDE = 12
CPU = Device(torch.device("cpu"), bf16=False)
PROFILE = Profile(
    width=0.125, epochs=1, transfer_epochs=1, input_px=(SIDE,), lr=(0.01, 0.05), trials_per_level=1, search_folds=2
)


class Killed(Exception):
    """The process ends here."""


def configure(suggest, level, profile):
    lr = suggest.suggest_float("lr", *profile.lr)
    norm = {"none": "batch", "1": "group"}[level]
    return Configuration(
        model=ModelConfig(placement=level, norm=norm, width=profile.width, input_px=SIDE),
        training=TrainingConfig(epochs=profile.epochs, lr=lr),
    )


SPACE = Space(
    question="?", factor="placement", levels=("none", "1"), reference="none", configure=configure, paper=PROFILE,
    quick=(PROFILE,), paper_networks=False,
)  # fmt: skip


def draw(source, classes, n_images, seed):
    """Noisy squares, every class with its colour."""
    rng, labels = np.random.default_rng(seed), np.arange(n_images) % len(classes)
    colours = dict(zip((name.lower() for name in COLOURS), COLOURS.values(), strict=True))
    middle = np.array([colours.get(name, (128, 128, 128)) for name in classes])[labels]
    pixels = rng.normal(middle[:, None, None], 40, (n_images, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    names = tuple(f"{classes[label]}/{k:03d}.png" for k, label in enumerate(labels))
    return ImageSet(
        source=source, classes=classes, names=names, labels=labels, pixels={SIDE: pixels}, fingerprint=str(seed)
    )


class LocalWorkers:
    """Trains in this process, one job after another.

    Attributes:
        trained: number of epochs.
    """

    def __init__(self):
        self.trained = 0
        torch.set_num_threads(1)  # as in a worker: with several, sums differ in their last digits

    def run(self, jobs, shared, *, title, begin, tick):
        for index, job in enumerate(jobs):
            begin(index)
            elsewhere = {where.data: shared[where.data] for where in job.task.elsewhere}
            weights = None if job.start_from is None else shared[job.start_from]
            for step in run_task(job.task, shared[job.data], CPU, weights, elsewhere=elsewhere):
                self.trained += 1
                yield JobStep(index=index, step=step)

    def latencies(self, models, n_classes):
        return [1.0] * len(models)


@contextmanager
def local_studies(tmp_path_factory, **given):
    """A function that makes studies, with other options where it is given some; they are closed at the end."""
    made = []

    def make(**options):
        made.append(LocalStudy(tmp_path_factory.mktemp("study") / "own", **given | options))
        return made[-1]

    yield make
    for study in made:
        study.ledger.close()


class LocalStudy:
    """The phases after the search, on drawn squares.

    Attributes:
        workers: count the epochs trained.
    """

    def __init__(self, folder, *, source, target, reports=(), folds=2, repeats=1, copy_of=None, **arguments):
        self.source, self.target, self.reports = source, target, reports
        self.arguments = Arguments(space="own.py", data="own", folds=folds, repeats=repeats, **arguments)
        self.ledger = None
        if copy_of is not None:
            shutil.copytree(copy_of.folder.path, folder)
            self.folder = StudyFolder.open(folder)
            self.restart()
            return
        self.folder = StudyFolder.create(folder, {})
        self.restart()
        for number, level in enumerate(SPACE.levels):
            key = {"phase": "search", "number": number, "level": level, "setting": 0, "data": source.source}
            row = {"state": "COMPLETE", "value": 0.5, "params_lr": 0.03}
            self.ledger.add_row("trials", key, row)

    def restart(self, **changes):
        """Continue in a new process."""
        if self.ledger is not None:
            self.ledger.close()
        self.arguments = replace(self.arguments, **changes)
        self.ledger, self.output, self.workers = Ledger(self.folder.path), io.StringIO(), LocalWorkers()
        given, n_images = self.arguments, len(self.source.labels)
        plan = make_plan(
            SPACE,
            Request(
                profile_name="quick", synthetic=True, n_images=n_images, n_classes=len(self.source.classes),
                n_target=len(self.target.labels), n_trials=2, search_folds=2, finalists=None, compare_settings=1,
                folds=given.folds, repeats=given.repeats, most_runs=None, control=False,
            ),
        )  # fmt: skip
        reporter = ProgressReporter(Console(file=self.output, width=300), clock_of(plan))
        locked = np.arange(0, n_images, 5)
        self.study = Study(
            arguments=given, space=SPACE, plan=plan, source=self.source, target=self.target, reports=self.reports,
            development=np.setdiff1d(np.arange(n_images), locked), locked=locked, folder=self.folder,
            ledger=self.ledger, cluster=None, reporter=reporter, workers=self.workers, photograph=None,
            observers=Observers((), reporter.note),
        )  # fmt: skip
        for data in self.study.images:
            self.study.shared[data.source] = Images(
                pixels=data.pixels, labels=data.labels, n_classes=len(data.classes)
            )
        return self

    def run(self, *, kill_at=None):
        """Run the phases; `kill_at` is the number of the entry into the ledger before which the process ends."""
        if kill_at is not None:
            entries, enter = iter(range(kill_at)), self.ledger._enter

            def until_killed(entry):
                if next(entries, None) is None:
                    raise Killed
                enter(entry)

            self.ledger._enter = until_killed
        with suppress(Killed), pytest.MonkeyPatch.context() as patched:
            patched.setattr(transferring, "share", lambda weights: weights)
            patched.setattr(transferring, "keep_examples", lambda *given: None)
            compare(self.study)
            self.ledger.replace("shift", shift_rows(self.study))
            best = winner(self.study)
            expect_winner(self.study, [best])
            transferring.test(self.study, best)
            transferring.transfer(self.study, best, self.target)
        return self

    def table(self, name, phase=None):
        frame = self.ledger.read(name).to_pandas()
        return frame if phase is None else frame[frame["phase"] == phase]
