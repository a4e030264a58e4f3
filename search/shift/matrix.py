"""The shift matrix: scores of each laboratory's networks on every laboratory, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from search.analysis.crossed import SCORES, Pairs, difference, score
from search.common.errors import InputError
from search.shift.laboratories import Laboratory, Pool
from search.shift.trainings import Training

_MEANINGS = {
    "accuracy": "share of images classified correctly",
    "balanced_accuracy": "mean over the scored classes of the share of their images classified correctly",
    "macro_f1": "mean over the scored classes of F1",
    "log_loss": "mean negative logarithm of the probability given to the true class; lower is better",
}
_FIELDS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("trained_on", pa.string(), "laboratory whose images the networks were trained on"),
    ("tested_on", pa.string(), "laboratory whose images they are scored on"),
    ("n_networks", pa.int64(), "networks: seeds x folds"),
    ("n_train", pa.float64(), "training images of a network, mean"),
    ("n_images", pa.int64(), "images scored, each by every network that did not train on it"),
    ("scored_classes", pa.string(), "classes that balanced accuracy and macro F1 average over"),
)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished training, with the probabilities of the images of its task's `val`."""

    training: Training
    probabilities: NDArray[np.float64]


def scored_classes(pool: Pool, least_images: int) -> dict[str, NDArray[np.int64]]:
    """The classes that averages over classes take in, by tested laboratory: those with enough images there.

    Raises:
        InputError: a laboratory has fewer than two; names it and its counts.
    """
    found = {each.name: np.flatnonzero(each.counts >= least_images) for each in pool.laboratories}
    for laboratory in pool.laboratories:
        if len(found[laboratory.name]) < 2:
            counts = ", ".join(f"{name} {n}" for name, n in zip(pool.classes, laboratory.counts, strict=True))
            raise InputError(
                f"--least-images {least_images}: {laboratory.name} has fewer than two such classes ({counts})"
            )
    return found


def shift_matrix(
    pool: Pool, finished: Sequence[Finished], scored: Mapping[str, NDArray[np.int64]], n_folds: int
) -> pd.DataFrame:
    """Score every laboratory's networks on every laboratory.

    The images of a column are the same in all its rows: those that its own laboratory's networks are validated
    on, which leaves out a class with a single image.

    Args:
        scored: as `scored_classes` gives it.
    Returns:
        A row for each pair of laboratories, with the columns of `table_of`.
    """
    cells = {
        (row.name, column.name): _pairs(pool, finished, row, column, scored[column.name], n_folds)
        for row in pool.laboratories
        for column in pool.laboratories
    }
    rows = []
    for (trained_on, tested_on), pairs in cells.items():
        own = [each.training for each in finished if each.training.laboratory == trained_on]
        row: dict[str, Any] = {
            "trained_on": trained_on,
            "tested_on": tested_on,
            "n_networks": len(own),
            "n_train": float(np.mean([len(training.task.train) for training in own])),
            "n_images": len(np.unique(pairs.image)),
            "scored_classes": ", ".join(pool.classes[k] for k in scored[tested_on]),
        }
        for metric in SCORES:
            found = score(pairs, metric)
            row |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
            if trained_on != tested_on:
                found = difference(pairs, cells[tested_on, tested_on], metric)
                row |= {
                    f"{metric}_difference": found.value,
                    f"{metric}_difference_low": found.low,
                    f"{metric}_difference_high": found.high,
                }
        rows.append(row)
    return pd.DataFrame(rows)


def table_of(matrix: pd.DataFrame) -> pa.Table:
    """The matrix with meanings and units of its columns."""
    fields = [pa.field(name, type_, metadata=_about(meaning)) for name, type_, meaning in _FIELDS]
    for metric, meaning in _MEANINGS.items():
        difference_words = f"{metric} minus that of the tested laboratory's own networks, on the same images"
        for name, words in ((metric, meaning), (f"{metric}_difference", difference_words)):
            fields.append(pa.field(name, pa.float64(), metadata=_about(words)))
            for end, bound in (("low", "lower"), ("high", "upper")):
                words_of_end = f"{bound} end of the 95 % interval of {name}, over networks and images"
                fields.append(pa.field(f"{name}_{end}", pa.float64(), metadata=_about(words_of_end)))
    return pa.Table.from_pandas(matrix, schema=pa.schema(fields), preserve_index=False)


def _about(meaning: str) -> dict[str, str]:
    return {"description": meaning, "unit": ""}


def _pairs(
    pool: Pool,
    finished: Sequence[Finished],
    row: Laboratory,
    column: Laboratory,
    scored: NDArray[np.int64],
    n_folds: int,
) -> Pairs:
    """All pairs of a network of the row and an image of the column that is scored."""
    images = column.images[column.counts[pool.labels[column.images]] > 1]
    networks, partitions, pairs, probabilities = [], [], [], []
    for number, each in enumerate(finished):
        if each.training.laboratory == row.name:
            kept = np.isin(each.training.task.val, images)
            pairs.append(each.training.task.val[kept])
            networks.append(np.full(kept.sum(), number))
            partitions.append(np.full(kept.sum(), each.training.seed))
            probabilities.append(each.probabilities[kept])
    image = np.concatenate(pairs)
    return Pairs(
        network=np.concatenate(networks),
        partition=np.concatenate(partitions),
        image=image,
        unit=pool.groups[image],
        labels=pool.labels[image],
        probabilities=np.concatenate(probabilities),
        scored=scored,
        n_folds=n_folds,
    )
