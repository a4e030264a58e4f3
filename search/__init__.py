"""The Python API: `search.open(folder)` returns the results of a study."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.records.results import Results


def open(folder: str | PathLike[str]) -> "Results":
    """Open a study's folder, whether the study is finished or not.

    Raises:
        InputError: there is no study in it, or a file is damaged; names the file.
    """
    from search.records.results import read_results

    return read_results(Path(folder))
