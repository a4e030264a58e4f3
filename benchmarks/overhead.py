"""Cost of a trial besides its training: search, journals and tables, with an objective that takes no time.

    python -m benchmarks.overhead

Trials of one fold and two epochs go through the study's own trials, Optuna's journal and the ledger, eight
levels at shared settings, with TPE and racing. Times are milliseconds per trial, as means over all trials and over
the last tenth.
"""

import statistics
import tempfile
import time
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
from search.study.searching import trial_row
from search.training.types import EpochResult, EpochScore, FoldScore, Normalisation, Step
from search.tuning.optuna_journal import journal_storage
from search.tuning.rules import Rules, Then
from search.tuning.trials import EndedTrial, OpenTrial, Trials
from wbcmodels.config import PLACEMENTS, ModelConfig

EPOCHS, N_VAL, CLASSES = 2, 20, ("a", "b")
PROFILE = Profile(
    width=0.125,
    epochs=EPOCHS,
    transfer_epochs=1,
    input_px=(24,),
    lr=(1e-3, 1e-1),
    trials_per_level=1,
    search_folds=1,
)
PLAIN = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

app = make_app("benchmarks.overhead")


@app.default
def main(
    trials: Annotated[list[int] | None, Parameter(help="Number of trials; may be repeated.")] = None,
) -> None:
    """Run searches with instant trainings and print the time that remains."""
    console = make_console()
    table = Table(title="Overhead per trial, ms", title_justify="left")
    for column in ("trials", "all", "last tenth", "Optuna", "ledger", "final flush, s"):
        table.add_column(column, justify="right")
    for n in trials or (100, 5000):
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(str(n), *measure(Path(folder), n))
    console.print(table)


def measure(folder: Path, n_trials: int) -> list[str]:
    """Run one search; returns the columns of its row."""
    search = InstantSearch(folder, n_trials)
    took = []
    while True:
        started = time.perf_counter()
        if not search.run_next():
            break
        took.append(1000 * (time.perf_counter() - started))
    started = time.perf_counter()
    search.ledger.close()
    flush_s = time.perf_counter() - started
    last = statistics.mean(took[-max(1, len(took) // 10) :])
    in_ledger = 1000 * search.in_ledger_s / len(took)
    mean = statistics.mean(took)
    return [*(f"{value:.1f}" for value in (mean, last, mean - in_ledger, in_ledger)), f"{flush_s:.2f}"]


class InstantSearch:
    """Search with trials scored by a formula."""

    def __init__(self, folder: Path, n_trials: int) -> None:
        space = Space(question="How long?", factor="placement", levels=PLACEMENTS, configure=_configure)
        n_trials = len(PLACEMENTS) * -(-n_trials // len(PLACEMENTS))
        rules = Rules(
            space=space,
            profile=PROFILE,
            n_trials=n_trials,
            n_folds=1,
            kept=2,
            metric="accuracy",
            seed=0,
            sampler="tpe",
            pruner="race",
            directions={"accuracy": "maximize"},
            objectives=lambda configuration, metrics, shift: (metrics.accuracy,),
        )
        self.ledger, self.in_ledger_s = Ledger(folder), 0.0
        images = ImageSet(
            source="none",
            classes=CLASSES,
            names=tuple(map(str, range(N_VAL))),
            labels=np.arange(N_VAL) % len(CLASSES),
            pixels={},
            fingerprint="",
        )
        reporter = ProgressReporter(make_console(stderr=True), Clock({Phase.SEARCH: {}}))
        self._recorder = Recorder(
            ledger=self.ledger,
            checkpoints=CheckpointFolder(folder / "checkpoints"),
            images=[images],
            timing=Timing(),
            observers=Observers((), reporter.note),
            reporter=reporter,
        )
        self._trials = Trials(
            rules,
            storage=journal_storage(folder / "optuna.journal"),
            recorded={},
            resume=lambda number: ([], 0.0),
            on_end=self._on_end,
            on_reject=lambda number, level, params, error: None,
        )

    def run_next(self) -> bool:
        """Run one trial; False if there is none left."""
        trial = self._trials.ask()
        if trial is None:
            return False
        value = 1 - abs(np.log10(trial.configuration.training.lr) + 2) / 2 - trial.params["dropout"] / 10
        training = _training(trial)
        for epoch in range(1, EPOCHS + 1):
            step = _step(epoch, float(value))
            started = time.perf_counter()
            self._recorder.step(training, step)
            self.in_ledger_s += time.perf_counter() - started
            if self._trials.step(trial.number, step) is not Then.CONTINUE:
                break
        self._trials.end(trial.number)
        started = time.perf_counter()
        self.ledger.flush_if_due()
        self.in_ledger_s += time.perf_counter() - started
        return True

    def _on_end(self, ended: EndedTrial) -> None:
        started = time.perf_counter()
        self.ledger.add_row("trials", asdict(_training(ended.trial).key), trial_row(ended, 100, len(CLASSES)))
        self.in_ledger_s += time.perf_counter() - started


def _training(trial: OpenTrial) -> Training:
    key = Key(
        phase=Phase.SEARCH,
        number=trial.number,
        level=trial.level,
        setting=trial.number // len(PLACEMENTS),
        data="none",
        seed=0,
    )
    return Training(
        key=key, title=trial.title, params=trial.params, n_train=100, epochs=EPOCHS, validation=(np.arange(N_VAL),)
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


def _step(epoch: int, value: float) -> Step:
    metrics = Metrics(**dict.fromkeys(METRIC_NAMES, value * epoch / EPOCHS))
    result = EpochResult(epoch=epoch, lr=0.1, train_loss=1.0, train_accuracy=0.5, train_s=0.1, data_s=0.0)
    score = FoldScore(
        n_train=100,
        n_val=N_VAL,
        metrics=metrics,
        probabilities=np.full((N_VAL, len(CLASSES)), 1 / len(CLASSES)),
        normalisation=PLAIN,
        train_s=0.2,
        weights=None,
    )
    last = epoch == EPOCHS
    epoch_score = EpochScore(training=result, validation=metrics, val_s=0.0)
    return Step(epoch=epoch_score, score=score if last else None, pooled=metrics if last else None)


if __name__ == "__main__":
    run_app(app)
