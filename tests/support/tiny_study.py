"""A study small enough for a test, and helpers that run the real commands on it."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.throughput_measures import process_tree

COLOURS = {"Basophil": (60, 20, 90), "eosinophil": (230, 110, 90), "Neutrophil": (190, 150, 210)}

SPACE = """
from search.space import Configuration, Profile, Space, TrainingConfig
from wbcmodels.config import ModelConfig

def configure(suggest, level, profile):
    norm = suggest.suggest_categorical("norm", ("batch", "group"))
    dropout = suggest.suggest_float("dropout", 0.0, 0.5) if norm == "batch" else 0.0
    model = ModelConfig(placement=level, norm=norm, dropout=dropout, input_px=12, width=profile.width)
    training = TrainingConfig(epochs=2, lr=suggest.suggest_float("lr", 0.01, 0.05))
    return Configuration(model=model, training=training)

SMALL = Profile(width=0.125, epochs=2, transfer_epochs=2, input_px=(12,), lr=(0.01, 0.05),
                trials_per_level=2, search_folds=2)
SPACE = Space(question="Does it run?", factor="placement", levels=("none", "1"), reference="none",
              configure=configure, paper=SMALL, quick=(SMALL,),
              first_points=lambda level, profile: ({"norm": "batch", "dropout": 0.2, "lr": 0.02},))
"""

PATIENCE_S = 240
# A page takes as long as the rest of a tiny study; without matplotlib there is a note instead.
NO_PAGE = os.environ | {"MPLBACKEND": "none"}
TIMES = [
    *("datetime_start", "datetime_complete", "duration_s", "train_s", "data_s", "val_s"),
    *("images_per_s", "latency_ms"),
]


class Finished(NamedTuple):
    """A study that has run to its end, the arguments of its command without name and folder, and its output."""

    folder: Path
    arguments: tuple
    printed: str
    errors: str


class Interrupted(NamedTuple):
    """A study that was interrupted and resumed: the output of both runs, and the errors and time of the first."""

    folder: Path
    printed: str
    errors: str
    elapsed_s: float


def command(*arguments, **options):
    """Run a module of the project to its end; a study draws no page."""
    given = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, timeout=600, **({"env": NO_PAGE} | options))


def start(*arguments):
    """Start a module of the project; a study draws no page."""
    given = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=NO_PAGE)


def wait_until(condition, process):
    """The condition's value once it holds; fails if the process ends first."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.003)
    return found


@dataclass
class RayCluster:
    """A Ray cluster in a process of its own, which runs on when a line is sent to it."""

    process: subprocess.Popen
    address: str

    def go_on(self):
        print(file=self.process.stdin, flush=True)

    def at_work(self):
        """Processes that run a task or an actor, which Ray names in their titles."""
        found = []
        for process in process_tree(self.process.pid):
            with suppress(OSError):  # it has just ended
                title = Path(f"/proc/{process}/cmdline").read_text()
                if title.startswith("ray::") and not re.match("ray::(IDLE|[A-Za-z]+Agent)", title):
                    found.append(process)
        return found


@contextmanager
def ray_cluster(code):
    """Start a Ray cluster that prints "at ADDRESS" and ends when its input does."""
    given = [sys.executable, "-c", code]
    for _ in range(3):  # on a busy machine Ray gives up after half a minute
        with subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            lines = iter(process.stdout.readline, "")
            address = next((line.split()[1] for line in lines if line.startswith("at ")), None)
            if address is not None:
                yield RayCluster(process, address)
                process.communicate("\n", timeout=PATIENCE_S)
                return
    raise AssertionError("Ray does not start")


def draw_folder(folder, *, side, n_images, seed):
    """Noisy squares of one colour a class."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(n_images):
            pixels = np.clip(rng.normal(colour, 40, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:03d}.png")
    return folder


def table(folder, name):
    return pd.read_parquet(folder / f"{name}.parquet")


def described(folder):
    return json.loads((folder / "study.json").read_text())


def epochs_trained(folder, phase=None):
    """Epochs recorded in a study's journal so far, those taken back since included."""
    journal = folder / "journal.jsonl"
    if not journal.exists():
        return 0
    complete = journal.read_text().split("\n")[:-1]  # a last line may be half written
    added = (entry for entry in map(json.loads, complete) if entry["do"] == "add" and entry["table"] == "epochs")
    return sum(len(entry["columns"]["epoch"]) for entry in added if phase in (None, entry["key"]["phase"]))


def assert_same_tables(folder, other, names):
    """Two studies agree in all but time."""
    for name in names:
        pd.testing.assert_frame_equal(
            table(folder, name).drop(columns=TIMES, errors="ignore"),
            table(other, name).drop(columns=TIMES, errors="ignore"),
        )
