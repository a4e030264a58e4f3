"""Files of predictions: CSV, Parquet and JSON lines, with the same columns."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from search.common.errors import InputError
from search.common.files import replace_file
from search.predict.predictions import Predictions
from search.records.schema import field_of

UNLIKE = pa.field(
    "unlike_training",
    pa.bool_(),
    metadata={"description": "whether the image looks unlike those of the training; null: unknown", "unit": ""},
)


def check_format(path: Path) -> None:
    """Refuse a file before anything is computed for it.

    Raises:
        InputError: its suffix names no format, or its folder does not exist.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--output {path}: the name must end in one of {' '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"--output {path}: no folder {path.parent}; create it")


def write(path: Path, found: Predictions) -> None:
    """Write predictions, in the format of the file's suffix."""
    table, save = table_of(found), FORMATS[path.suffix.lower()]
    replace_file(path, lambda partial: save(table, partial))


def table_of(found: Predictions) -> pa.Table:
    """One row for each image; its columns are those of every file of predictions."""
    columns: dict[str, Any] = {
        "image": found.names,
        **({} if found.labels is None else {"label": found.labels}),
        "predicted": found.predicted,
        UNLIKE.name: [None] * len(found.names) if found.unlike is None else found.unlike,
        **{f"probability_{name}": found.probabilities[:, k] for k, name in enumerate(found.classes)},
    }
    fields = [UNLIKE if name == UNLIKE.name else field_of(name) for name in columns]
    return pa.table(columns, schema=pa.schema(fields))


def _write_lines(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in table.to_batches(max_chunksize=1000):
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())


FORMATS: dict[str, Callable[[pa.Table, Path], object]] = {
    ".csv": csv.write_csv,
    ".parquet": pq.write_table,
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
}
"""How a table is written, by suffix."""
