import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.optimizers import METRICS, NORMS, PLACEMENTS, compared, measured
from search.data.imageset import ImageSet
from search.space import TrainingConfig

SIDE, N_IMAGES = 12, 40


def cells():
    labels = np.arange(N_IMAGES) % 2
    pixels = np.random.default_rng(0).integers(0, 120, (N_IMAGES, SIDE, SIDE, 3), np.uint8)
    pixels[labels == 1] += 100
    names = tuple(f"{n}.png" for n in range(N_IMAGES))
    return ImageSet(
        source="cells", classes=("a", "b"), names=names, labels=labels, pixels={SIDE: pixels}, fingerprint=""
    )


def test_every_network_is_trained_with_both_optimizers_on_the_same_folds():
    trainings = [TrainingConfig(epochs=1, lr=0.01, optimizer=name) for name in ("sgd", "adamw")]
    scores = measured(cells(), trainings, SIDE, n_folds=2)
    counts = scores.groupby(["optimizer", "norm", "fold"]).size()
    assert len(counts) == 2 * len(NORMS) * 2
    assert (counts == len(PLACEMENTS)).all()
    assert scores["accuracy"].between(0, 1).all()
    assert (scores["train_s"] > 0).all()


def test_differences_are_paired_by_fold():
    rows = [
        {"optimizer": name, "norm": norm, "fold": fold, "train_s": 1.0 + (name == "sgd")}
        | dict.fromkeys(METRICS, 0.5 + 0.1 * fold + 0.05 * (name == "adamw"))
        for name in ("sgd", "adamw")
        for norm in NORMS
        for fold in range(3)
    ]
    console = Console(width=200, record=True)
    console.print(compared(pd.DataFrame(rows), N_IMAGES))
    printed = console.export_text()
    # The same on every fold, so the interval is a point, however much the folds differ.
    assert printed.count("+5.00 (+5.00 to +5.00)") == len(METRICS) * len(NORMS)
    assert printed.count("× 0.50") == len(NORMS)
