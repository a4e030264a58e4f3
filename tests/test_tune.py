from types import SimpleNamespace

import pytest

from search.tuning.cluster import Cluster
from search.tuning.tune import MAX_FALSE_STARTS, _BookSearcher, _Driver, _Upkeep

CLUSTER = Cluster(cpus=2, gpus=0, cpus_per_trial=1, gpus_per_trial=0.0, slots=2, dashboard=None, needs_token=False)


class Book:
    """Gives out trial 0 for ever, and takes down whether its losses count."""

    wants_room, open = False, ()

    def __init__(self):
        self.counted = []

    def ask(self):
        return SimpleNamespace(number=0, title="trial 0", configuration=None)

    def lose(self, number, error, known, *, began):
        self.counted.append(began)


@pytest.fixture
def lose():
    """Loses the worker of trial 0, after it has begun the trial or before; says whether that counted."""
    book = Book()
    driver = _Driver(book, SimpleNamespace(checkpoint=lambda number: None), CLUSTER)
    searcher, upkeep = _BookSearcher(driver), _Upkeep(driver)

    def lose(*, begun):
        searcher.suggest("x")
        if begun:
            upkeep.on_trial_start(iteration=0, trials=[], trial=SimpleNamespace(trial_id="x"))
        searcher.on_trial_complete("x", error=True)
        assert driver.error is None
        return book.counted[-1]

    return lose


def test_a_worker_counts_as_lost_once_it_has_begun(lose):
    assert [lose(begun=begun) for begun in (False, True, False, True, True)] == [False, True, False, True, True]


def test_workers_that_never_begin_count_in_the_end(lose):
    assert [lose(begun=False) for _ in range(MAX_FALSE_STARTS + 1)] == [False] * MAX_FALSE_STARTS + [True]


def test_a_worker_that_begins_shows_that_workers_can(lose):
    for _ in range(MAX_FALSE_STARTS):
        lose(begun=False)
    lose(begun=True)
    assert not lose(begun=False)
