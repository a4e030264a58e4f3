"""A study small enough for a test, and what tests of the real command need to run it."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
from PIL import Image

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
TIMES = [
    "datetime_start",
    "datetime_complete",
    "duration_s",
    "train_s",
    "data_s",
    "val_s",
    "images_per_s",
    "latency_ms",
]


def command(*arguments, **options):
    """Run a module of the project to its end."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, timeout=600, **options
    )


def start(*arguments):
    """Start a module of the project."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def ray_cluster(code):
    """A process that starts a Ray cluster, says "at ADDRESS", and ends it at a line; and the address.

    What Ray leaves open there is none of this process's business.
    """
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield (
            process,
            next(line.split()[1] for line in iter(process.stdout.readline, "") if line.startswith("at ")),
        )
        process.communicate("\n", timeout=PATIENCE_S)


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


def assert_same_tables(folder, other, names):
    """Two studies agree in all but time."""
    for name in names:
        pd.testing.assert_frame_equal(
            table(folder, name).drop(columns=TIMES, errors="ignore"),
            table(other, name).drop(columns=TIMES, errors="ignore"),
        )
