from types import SimpleNamespace

import pytest
from book_harness import Search, check_run_that_came_to_its_end
from ray.exceptions import ObjectReconstructionFailedError

from search.tuning.cluster import Cluster
from search.tuning.tune import MAX_FALSE_STARTS, _BookSearcher, _Driver, _through_losses, _Upkeep

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


@pytest.fixture
def lossy(tmp_path):
    """A search of two trials at a time, and its driver."""
    search = Search(tmp_path / "journal")

    def take_back(number):
        del search.running[number]
        return search._take_back(number)

    return search, _Driver(search.book, SimpleNamespace(take_back=take_back), CLUSTER)


def lost_result(cause):
    """What Tune raises when it cannot fetch what a worker has answered."""
    try:
        raise RuntimeError("Caught unexpected exception") from cause
    except RuntimeError as error:
        return error


def test_a_search_goes_on_when_results_are_gone_with_their_machine(lossy):
    search, driver = lossy
    rounds = iter([3, 1, 7, 2])

    def fit():
        n_steps = next(rounds, None)
        if n_steps is None:
            search.run()
            return
        begun = [search.ask().number for _ in range(2)]
        assert begun == sorted(begun)
        for _ in range(n_steps):
            for number in begun:
                if number in search.running:
                    search.advance(number)
                    driver.n_steps += 1
        raise lost_result(ObjectReconstructionFailedError("00", None, ""))

    _through_losses(driver, fit)
    check_run_that_came_to_its_end(search)
    assert "FAIL" not in search.states().values()
    assert search.given[:4] == [0, 1, 0, 1]


def test_a_loss_without_an_epoch_since_the_last_ends_the_search(lossy):
    search, driver = lossy
    fits = []

    def fit():
        fits.append(search.ask().number)
        driver.n_steps += len(fits) == 1
        raise lost_result(ObjectReconstructionFailedError("00", None, ""))

    with pytest.raises(RuntimeError, match="unexpected"):
        _through_losses(driver, fit)
    assert fits == [0, 0]


@pytest.mark.parametrize("cause", [None, ValueError("of Tune's own")])
def test_other_errors_of_tune_end_the_search(lossy, cause):
    _, driver = lossy

    def fit():
        driver.n_steps += 1
        raise lost_result(cause)

    with pytest.raises(RuntimeError, match="unexpected"):
        _through_losses(driver, fit)
