"""Cost of a trial besides its training: search, journals and tables, with trainings that take no time.

    python -m benchmarks.overhead --trials 10000 --folds 5 --epochs 40 --images 1738

Every trial has a real study's rows: one for each epoch of each fold, and one for each image. It goes through the
study's own trials, Optuna's journal and the ledger, eight levels at shared settings, with TPE and a race that
stops nothing. One process searches, and a second one opens what it has left, as a resumed study does.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from rich.table import Table

from search.common.clock import Clock
from search.common.commandline import make_app, run_app
from search.common.console import ProgressReporter, make_console
from search.common.metrics import METRIC_NAMES, Metrics
from search.data.imageset import ImageSet
from search.records.checkpoints import CheckpointFolder
from search.records.ledger import Ledger
from search.records.observers import Observers, Training
from search.records.recorder import Recorder
from search.records.schema import Key, Phase
from search.records.timing import Timing
from search.space import Configuration, Profile, Space, Suggester, TrainingConfig
from search.study.searching import curves_of, recorded_trials, trial_row
from search.training.types import EpochResult, EpochScore, FoldScore, Normalisation, Step
from search.tuning.optuna_journal import journal_storage
from search.tuning.rules import Rules, Then
from search.tuning.settings import EndedTrial, OpenTrial
from search.tuning.trials import Trials
from wbcmodels.config import PLACEMENTS, ModelConfig

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
PLAIN = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

app = make_app("benchmarks.overhead")


@app.default
def main(
    trials: Annotated[list[int] | None, Parameter(help="Number of trials; may be repeated.")] = None,
    folds: Annotated[int, Parameter(help="Search folds.")] = 5,
    epochs: Annotated[int, Parameter(help="Epochs a fold.")] = 40,
    images: Annotated[int, Parameter(help="Images, each predicted once a trial.")] = 1738,
) -> None:
    """Run searches with instant trainings and print the time that remains."""
    console = make_console()
    table = Table(title="Overhead per trial", title_justify="left")
    for column in (
        *("trials", "median, ms", "last tenth, ms", "longest, s", "oldest table, s", "driver, MB"),
        *("disk, MB", "journal, MB", "reopened, s"),
    ):
        table.add_column(column, justify="right")
    for n in trials or (100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, float] = {}
            for part in ("search", "reopen"):
                arguments = [part, folder, str(n), str(folds), str(epochs), str(images)]
                code = "import sys; from benchmarks.overhead import in_process; in_process(*sys.argv[1:])"
                ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
                if ran.returncode:
                    console.print(ran.stderr)
                    raise SystemExit(1)
                found |= json.loads(ran.stdout.splitlines()[-1])
        table.add_row(str(n), *(f"{found[name]:.3g}" for name in found))
    console.print(table)


def in_process(part: str, folder: str, *numbers: str) -> None:
    """Search, or open again what a search has left, and print what it cost as JSON."""
    search = InstantSearch(Path(folder), *map(int, numbers))
    print(json.dumps(search.measure() if part == "search" else {"reopened_s": search.opened_s}))


class InstantSearch:
    """Search with trials scored by a formula.

    Attributes:
        opened_s: time to open ledger and search.
    """

    def __init__(self, folder: Path, n_trials: int, n_folds: int, n_epochs: int, n_images: int) -> None:
        started = time.perf_counter()
        self._folder, self._n_epochs = folder, n_epochs
        self._folds = np.array_split(np.arange(n_images), n_folds)
        profile = Profile(
            width=0.125,
            epochs=n_epochs,
            transfer_epochs=1,
            input_px=(24,),
            lr=(1e-3, 1e-1),
            trials_per_level=1,
            search_folds=n_folds,
        )
        space = Space(question="How long?", factor="placement", levels=PLACEMENTS, configure=_configure)
        rules = Rules(
            space=space,
            profile=profile,
            n_trials=len(PLACEMENTS) * -(-n_trials // len(PLACEMENTS)),
            n_folds=n_folds,
            kept=2,
            metric="accuracy",
            seed=0,
            sampler="tpe",
            pruner="race",
            directions={"accuracy": "maximize"},
            objectives=lambda configuration, metrics, shift: (metrics.accuracy,),
        )
        self._ledger = Ledger(folder)
        images = ImageSet(
            source="cells",
            classes=CLASSES,
            names=tuple(f"class_{n % len(CLASSES)}/image_{n:06d}.png" for n in range(n_images)),
            labels=np.arange(n_images) % len(CLASSES),
            pixels={},
            fingerprint="",
        )
        reporter = ProgressReporter(make_console(stderr=True), Clock({Phase.SEARCH: {}}))
        self._recorder = Recorder(
            ledger=self._ledger,
            checkpoints=CheckpointFolder(folder / "checkpoints"),
            images=[images],
            timing=Timing(),
            observers=Observers((), reporter.note),
            reporter=reporter,
        )
        rng = np.random.default_rng(0)
        self._probabilities = rng.dirichlet(np.ones(len(CLASSES)), n_images)
        self._trials = Trials(
            rules,
            storage=journal_storage(folder / "optuna.journal"),
            recorded=recorded_trials(self._ledger, "accuracy", ("accuracy",)),
            resume=lambda number: (curves_of(self._ledger, "accuracy", number=number).get(number, []), 0.0),
            on_end=self._on_end,
            on_reject=lambda number, level, params, error: None,
        )
        self._opened = time.perf_counter()
        self.opened_s = self._opened - started

    def measure(self) -> dict[str, float]:
        """Run all trials."""
        by_trial: defaultdict[int, float] = defaultdict(float)
        ages = []
        started = time.perf_counter()
        while (number := self._run_next()) is not None:
            now = time.perf_counter()
            by_trial[number] += now - started
            written = self._folder / "trials.parquet"
            ages.append(time.time() - written.stat().st_mtime if written.exists() else now - self._opened)
            started = time.perf_counter()
        took = [by_trial[number] for number in sorted(by_trial)]
        self._ledger.close()
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        return {
            "median_ms": 1000 * statistics.median(took),
            "last_ms": 1000 * statistics.mean(took[-max(1, len(took) // 10) :]),
            "longest_s": max(took),
            "oldest_s": max(ages),
            "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "disk_mb": sum(path.stat().st_size for path in files) / 1e6,
            "journal_mb": sum(path.stat().st_size for path in files if path.name == "journal.jsonl") / 1e6,
        }

    def _run_next(self) -> int | None:
        """Run a trial until it ends or pauses, and return its number; None if there is none left."""
        trial = self._trials.ask()
        if trial is None:
            return None
        distance = abs(np.log10(trial.configuration.training.lr) + 2) / 2 + trial.params["dropout"] / 10
        value = 0.9 - distance / 50  # within the race's margin
        training = self._training(trial)
        for fold in range(len(trial.values), len(self._folds)):
            for epoch in range(1, self._n_epochs + 1):
                step = self._step(fold, epoch, float(value))
                self._recorder.step(training, step)
                if self._trials.step(trial.number, step) is not Then.CONTINUE:
                    break
            else:
                continue
            break
        self._trials.end(trial.number)
        self._recorder.tick()
        return trial.number

    def _on_end(self, ended: EndedTrial) -> None:
        n_train = sum(map(len, self._folds[1:]))
        row = trial_row(ended, n_train, len(CLASSES))
        self._ledger.add_row("trials", asdict(self._training(ended.trial).key), row)

    def _training(self, trial: OpenTrial) -> Training:
        key = Key(
            phase=Phase.SEARCH,
            number=trial.number,
            level=trial.level,
            setting=trial.number // len(PLACEMENTS),
            data="cells",
            seed=0,
        )
        return Training(
            key=key,
            title=trial.title,
            params=trial.params,
            n_train=100,
            epochs=self._n_epochs,
            validation=tuple(self._folds),
        )

    def _step(self, fold: int, epoch: int, value: float) -> Step:
        metrics = Metrics(**dict.fromkeys(METRIC_NAMES, value * epoch / self._n_epochs))
        result = EpochResult(epoch=epoch, lr=0.1, train_loss=1.0, train_accuracy=0.5, train_s=0.1, data_s=0.0)
        last, own = epoch == self._n_epochs, self._folds[fold]
        score = FoldScore(
            n_train=100,
            n_val=len(own),
            metrics=metrics,
            probabilities=self._probabilities[own],
            normalisation=PLAIN,
            train_s=0.2,
            weights=None,
        )
        return Step(
            fold=fold,
            epoch=EpochScore(training=result, validation=metrics, val_s=0.0),
            score=score if last else None,
            pooled=metrics if last and fold == len(self._folds) - 1 else None,
        )


def _configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    return Configuration(
        model=ModelConfig(
            placement=level,
            norm=suggest.suggest_categorical("norm", ("batch", "group", "none")),
            dropout=suggest.suggest_float("dropout", 0.0, 0.6),
            width=profile.width,
            input_px=profile.input_px[0],
        ),
        training=TrainingConfig(epochs=profile.epochs, lr=suggest.suggest_float("lr", *profile.lr, log=True)),
    )


if __name__ == "__main__":
    run_app(app)
