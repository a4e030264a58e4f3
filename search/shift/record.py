"""The record of a shift matrix: what it is of, and its finished trainings, one file each."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from search.common.errors import InputError
from search.common.files import write_atomically, write_text
from search.records.schema import field_of
from search.records.studyfolder import environment, now
from search.shift.laboratories import Pool
from search.shift.trainings import Training

DESCRIPTION = "shift.json"
_OWN_FIELDS = {
    "trained_on": (pa.string(), "laboratory that the network was trained on"),
    "tested_on": (pa.string(), "laboratory of the image"),
    "seed": (pa.int64(), "number of the partition into folds and of the initial weights, from 0"),
}


class Record:
    """The folder of a shift matrix.

    Args:
        question: what determines each training; the same in every call that goes on with it.
        n_seeds: may differ from call to call, because it changes no training.
    """

    def __init__(self, folder: Path, question: Mapping[str, Any], n_seeds: int) -> None:
        self.folder = folder
        self._n_seeds = n_seeds
        self._question = json.loads(json.dumps(question))

    @contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """Begin the record, or go on with it; gives its description.

        Raises:
            InputError: the folder holds something else, a matrix of other arguments, images or networks, or is in
                use by another process; names what differs.
        """
        try:
            (self.folder / "trainings").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.folder}: another process is at work in it") from None
        except OSError as error:
            raise InputError(f"{self.folder}: {error.strerror or error}") from error
        try:
            yield self._description()
        finally:
            lock.release()

    def finished(self, training: Training, pool: Pool) -> NDArray[np.float64] | None:
        """The probabilities of a finished training, in the order of its task's `val`; None before it is finished.

        Raises:
            InputError: its file is damaged; names it.
        """
        file = self._file(training)
        if not file.exists():
            return None
        try:
            frame: pd.DataFrame = pq.read_table(file).to_pandas()
            same = frame["image"].tolist() == [pool.names[index] for index in training.task.val]
            probabilities = frame[[f"probability_{name}" for name in pool.classes]].to_numpy(np.float64)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise InputError(f"{file}: damaged: {error}; remove it, and it is trained again") from error
        if not same:
            raise InputError(f"{file}: is of other images; remove it, and it is trained again")
        return probabilities

    def keep(self, training: Training, pool: Pool, probabilities: NDArray[np.float64]) -> None:
        """Write a finished training's predictions."""
        val = training.task.val
        starts = [laboratory.start for laboratory in pool.laboratories]
        tested_on = np.searchsorted(starts, val, side="right") - 1
        columns: dict[str, Any] = {
            "trained_on": [training.laboratory] * len(val),
            "seed": [training.seed] * len(val),
            "fold": [training.fold] * len(val),
            "tested_on": [pool.laboratories[number].name for number in tested_on],
            "image": [pool.names[index] for index in val],
            "label": [pool.classes[k] for k in pool.labels[val]],
            "predicted": [pool.classes[k] for k in probabilities.argmax(1)],
            **{f"probability_{name}": probabilities[:, k] for k, name in enumerate(pool.classes)},
        }
        schema = pa.schema([_field(name) for name in columns])
        write_atomically(self._file(training), pa.table(columns, schema=schema))

    def _file(self, training: Training) -> Path:
        return self.folder / "trainings" / f"{training.name}.parquet"

    def _description(self) -> dict[str, Any]:
        file = self.folder / DESCRIPTION
        if not file.exists():
            return self._described({**self._question, "started": now(), "environment": environment()})
        try:
            recorded = json.loads(file.read_text(encoding="utf-8"))
            differing = [name for name, value in self._question.items() if recorded.get(name) != value]
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from error
        if differing:
            name = differing[0]
            raise InputError(
                f"{self.folder}: holds a matrix of other {name.replace('_', ' ')} "
                f"({_changed(recorded.get(name), self._question[name])}); choose another --output"
            )
        return self._described(recorded)

    def _described(self, recorded: dict[str, Any]) -> dict[str, Any]:
        description = {**recorded, "seeds": self._n_seeds}
        write_text(self.folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")
        return description


def _field(name: str) -> pa.Field:
    if name in _OWN_FIELDS:
        type_, meaning = _OWN_FIELDS[name]
        return pa.field(name, type_, metadata={"description": meaning, "unit": ""})
    field = field_of(name)
    assert field is not None  # all others are columns of the predictions table
    return field


def _changed(before: Any, after: Any) -> str:
    """The first difference of two values in words."""
    if isinstance(before, dict) and isinstance(after, dict):
        name = next(name for name in [*before, *after] if before.get(name) != after.get(name))
        return f"{name}: {_changed(before.get(name), after.get(name))}"
    return f"{before}, now {after}"
