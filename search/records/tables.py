"""The tables of a study's folder as they were last written."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from search.common.files import readable
from search.records.rows import empty, matching
from search.records.schema import OLDER_SETTINGS, Phase, field_of

if TYPE_CHECKING:  # a study prints its header without waiting for pandas
    import pandas as pd


def read_table(folder: Path, name: str, *, without: Phase | None = None) -> "pd.DataFrame":
    """A table of a study's folder as it was last written.

    Args:
        without: a phase whose rows are left out; the search's can be millions.
    Returns:
        All columns of the table's schema, null where the study was written before there were such columns; no rows
        if there is no file.
    Raises:
        InputError: the file is damaged; names it.
    """
    file = folder / f"{name}.parquet"
    with readable(file):
        table = _read(file, without) if file.exists() else empty(name)
    if "settings" in table.column_names:  # of an older study
        numbers = [OLDER_SETTINGS.get(name) for name in table["settings"].to_pylist()]
        table = table.append_column(field_of("setting"), pa.array(numbers, pa.int64())).drop_columns("settings")
    for field in empty(name).schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _read(file: Path, without: Phase | None) -> pa.Table:
    """The rows of a file, or of a folder of parts."""
    condition = None if without is None else ~matching({"phase": without})
    return pq.read_table(file, filters=condition, partitioning=None)
