"""Studies that tests of the report share."""

import pytest
from browser import chromium, opened
from written_study import KINDS, write_study

from search.records.results import read_results
from search.report.__main__ import main


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A finished study's folder with a control, its figures and its page."""
    folder = write_study(tmp_path_factory.mktemp("report") / "where-blocks-belong", n_trials=40, control=True)
    main(str(folder))
    return folder


@pytest.fixture(scope="session")
def searching(tmp_path_factory):
    """The folder of a study that was interrupted in its search."""
    return write_study(tmp_path_factory.mktemp("report") / "searching", n_trials=32, stop=("search", 16))


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """The results of a study of each kind, before its transfer, made when a test asks for them."""
    folder = tmp_path_factory.mktemp("kinds")

    class Studies(dict):
        def __missing__(self, kind):
            options = {"n_trials": 24, **KINDS[kind]}
            self[kind] = read_results(write_study(folder / kind, stop=("transfer", 0), **options))
            return self[kind]

    return Studies()


@pytest.fixture(scope="session")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def wide(browser, study):
    """The finished study's page on a wide screen, which tests may sort, filter and hover over."""
    with opened(browser, study) as page:
        yield page
