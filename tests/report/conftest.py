"""Studies that tests of the report share."""

import pytest
from written_study import REFERENCE_BEST, SETTLED, UNSETTLED, write_study

from search.records.results import read_results
from search.report.__main__ import main


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A finished study's folder with its figures and its page."""
    folder = write_study(tmp_path_factory.mktemp("report") / "where-blocks-belong", n_trials=33)
    main(folder)
    return folder


@pytest.fixture(scope="session")
def searching(tmp_path_factory):
    """The folder of a study that was interrupted in its search."""
    return write_study(tmp_path_factory.mktemp("report") / "searching", n_trials=32, stop=("search", 16))


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """The results of a study of each outcome, before its transfer."""
    folder = tmp_path_factory.mktemp("outcomes")
    gains = {"not settled": UNSETTLED, "settled": SETTLED, "reference": REFERENCE_BEST}
    return {
        name: read_results(write_study(folder / name, n_trials=8, gains=gain, stop=("transfer", 0)))
        for name, gain in gains.items()
    }
