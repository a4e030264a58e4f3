import pytest
import torch

from search.tuning.failures import Failure, Retries, failure_of, lost_worker


def test_a_retry_is_allowed_once_and_only_where_it_may_help():
    retries, lost = Retries(), Failure("lost", retry=True)
    assert not retries.allow(1, Failure("no"))
    assert retries.allow(1, lost)
    assert not retries.allow(1, lost)
    assert (retries.reason(1, lost), retries.reason(1, Failure("no"))) == ("lost, twice", "no")


def test_one_slot_is_left_free_while_a_retry_runs_or_is_next():
    retries = Retries()
    retries.allow(7, Failure("lost", retry=True))
    assert [retries.slots(3, running, waiting) for running, waiting in (([7], []), ([1], [7, 2]))] == [2, 2]
    assert [retries.slots(3, running, waiting) for running, waiting in (([1], [2, 7]), ([], []))] == [3, 3]
    assert retries.slots(1, [7], []) == 1


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (ValueError("a\nb"), "ValueError: a", False),
        (MemoryError(), "out of memory", True),
        (torch.OutOfMemoryError("CUDA is full"), "out of memory: CUDA is full", True),
    ],
)
def test_only_a_lack_of_memory_is_retried(error, reason, retry):
    assert failure_of(error) == Failure(reason, retry)


def test_a_worker_that_is_lost_is_retried_unless_its_time_was_up():
    assert lost_worker(10.0, None).retry
    assert lost_worker(3.0, 4.0).retry
    assert "--trial-timeout" in lost_worker(4.0, 4.0).reason
    assert not lost_worker(4.0, 4.0).retry
