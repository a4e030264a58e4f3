"""Growth of memory, Ray's object store and files over a long search.

    python -m benchmarks.leaks

Short trials of a tiny network go through the project's own search on real workers, with its journals, tables and
checkpoints; some are stopped early. Growth is the slope of a straight line through the second half.
Linux only: it reads /proc.
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import ray
from cyclopts import Parameter
from cyclopts.validators import Number
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from rich.table import Table

from benchmarks.studies import image_set, study_of
from benchmarks.throughput_measures import process_mb, process_tree
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.data.imageset import ImageSet
from search.records.arguments import Arguments, Resources
from search.space import Configuration, Profile, Space, Suggester, TrainingConfig
from search.study.context import Study
from search.study.searching import Search
from search.study.session import open_session
from search.training.types import Step
from search.tuning.pool import probed_speeds
from search.tuning.rules import Then
from search.tuning.settings import OpenTrial
from wbcmodels.config import ModelConfig

SIDE, N_IMAGES, CLASSES, SLOTS = 12, 60, ("a", "b", "c"), 2
SAMPLES = 100
SHOWN = (0.1, 0.5, 1.0)
SPACE_FILE = "from benchmarks.leaks import tiny_space\nSPACE = tiny_space()\n"

app = make_app("benchmarks.leaks")


@app.default
def main(
    trials: Annotated[int, Parameter(validator=Number(gte=10), help="Number of trials.")] = 500,
    output: Annotated[Path | None, Parameter(help="Parquet file to write, one row per sample.")] = None,
) -> None:
    """Search and print what grows."""
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # Tune creates its scratch directory there
        samples = pd.DataFrame(watched_search(Path(folder), trials))
    if output is not None:
        samples.to_parquet(output, index=False)
    _print(samples)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Resources a search holds once a number of trials have started.

    Attributes:
        driver_mb, worker_mb: memory of the driver and of the largest worker.
        steps: epochs, with their checkpoints, that the driver holds in memory.
        store_mb: used part of Ray's object store.
        scratch_files, session_files, study_files: files and folders in Tune's scratch directory, among the
            artifacts of Ray's session, and in the study's folder.
    """

    trials: int
    driver_mb: float
    worker_mb: float
    steps: int
    store_mb: float
    scratch_files: int
    session_files: int
    study_files: int


class WatchedSearch(Search):
    """Search that takes samples while it runs."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self.samples: list[Sample] = []
        self._begun = 0
        self._every = max(1, study.plan.n_trials // SAMPLES)

    def step(self, trial: OpenTrial, step: Step) -> Then:
        """Count the trials, which are numbered consecutively."""
        self._begun = max(self._begun, trial.number + 1)
        return super().step(trial, step)

    def tick(self) -> None:
        """Take a sample if one is due."""
        super().tick()
        if self._begun >= self._every * (len(self.samples) + 1):
            self.samples.append(_sample(self._begun, self._study.folder.path))


def watched_search(folder: Path, n_trials: int) -> list[Sample]:
    """Search on noise, in a study's folder inside the given one."""
    space = folder / "space.py"
    space.write_text(SPACE_FILE)
    # asha stops trials in the middle of a fold, when their last step holds a whole network.
    arguments = Arguments(
        space=str(space), transfer_data="none", profile="quick", trials=n_trials, search_folds=2, pruner="asha"
    )
    with open_session(arguments, Resources(gpus_per_trial=0.0, max_concurrent=SLOTS)) as session:
        probed_speeds(session.probe)  # now its processes are done
        study = study_of(Study, session, _images(), folder / "study")
        study.share_images()
        search = WatchedSearch(study)
        search.run()
        study.ledger.close()
    return search.samples


def tiny_space() -> Space:
    """Space of networks that train in a moment."""
    profile = Profile(
        width=0.125,
        epochs=2,
        transfer_epochs=1,
        input_px=(SIDE,),
        lr=(1e-3, 1e-1),
        trials_per_level=1,
        search_folds=2,
    )
    return Space(
        question="Does it leak?",
        factor="placement",
        levels=("none", "1"),
        reference="none",
        configure=_configure,
        paper=profile,
        quick=(profile,),
    )


def _configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    model = ModelConfig(placement=level, input_px=SIDE, width=profile.width)
    lr = suggest.suggest_float("lr", *profile.lr, log=True)
    return Configuration(model=model, training=TrainingConfig(epochs=profile.epochs, lr=lr))


def _images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    return image_set(pixels, np.arange(N_IMAGES) % len(CLASSES), CLASSES)


def _sample(trials: int, study: Path) -> Sample:
    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    store = get_memory_info_reply(state).store_stats
    node = ray._private.worker.global_worker.node
    assert node is not None
    session = Path(node.get_session_dir_path())
    return Sample(
        trials=trials,
        driver_mb=process_mb(os.getpid()),
        worker_mb=max(map(process_mb, _workers()), default=0.0),
        steps=sum(isinstance(thing, Step) for thing in gc.get_objects()),
        store_mb=store.object_store_bytes_used / 1e6,
        scratch_files=_count(study.parent.glob("wbc-search-*/**/*")),
        session_files=_count((session / "artifacts").glob("**/*")),
        study_files=_count(study.glob("**/*")),
    )


def _workers() -> Iterator[int]:
    """The processes of this search's trials."""
    for process in process_tree(os.getpid()):
        try:
            command = Path(f"/proc/{process}/cmdline").read_text()
        except OSError:  # it has just exited
            continue
        if "TrialWorker" in command:
            yield process


def _count(files: Iterator[Path]) -> int:
    return sum(1 for _ in files)


def _print(samples: pd.DataFrame) -> None:
    later = samples[len(samples) // 2 :]
    table = Table(title="Resources held by a search", title_justify="left")
    for column in ("", *(f"after {n} trials" for n in _shown(samples)["trials"]), "growth per 100 trials"):
        table.add_column(column, justify="right" if column else "left")
    for field in fields(Sample)[1:]:
        slope = np.polyfit(later["trials"], later[field.name], 1)[0]
        shown = [f"{value:.1f}" for value in _shown(samples)[field.name]]
        table.add_row(field.name, *shown, f"{100 * slope:+.2f}")
    make_console().print(table)


def _shown(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.iloc[[round(share * len(samples)) - 1 for share in SHOWN]]


if __name__ == "__main__":
    run_app(app)
