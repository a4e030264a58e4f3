import pytest

from search.records import timing
from search.records.timing import Timing, added, described, time_spent
from search.training.types import EpochResult, EpochScore


def epoch(train_s, data_s, val_s):
    result = EpochResult(epoch=1, lr=0.1, train_loss=1.0, train_accuracy=0.5, train_s=train_s, data_s=data_s)
    return EpochScore(training=result, validation=None, val_s=val_s)


def test_what_no_epoch_took_was_waited():
    run = time_spent(100.0, 2, {"training": 120.0, "validation": 20.0, "preparing": 10.0})
    assert run == {"elapsed": 100.0, "training": 120.0, "validation": 20.0, "preparing": 10.0, "waiting": 50.0}


def test_waiting_is_never_below_nothing():
    assert time_spent(1.0, 1, {"training": 1.5})["waiting"] == 0


def test_epochs_add_up_and_preparing_is_no_training(monkeypatch):
    now = [50.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    spent = Timing()
    spent.add(epoch(4.0, 1.0, 0.5))
    spent.add(epoch(3.0, 0.5, 0.25))
    now[0] = 60.0
    assert spent.so_far(1) == pytest.approx(
        {"elapsed": 10.0, "training": 5.5, "preparing": 1.5, "validation": 0.75, "waiting": 2.25}
    )


def test_runs_of_a_study_add_up():
    run = time_spent(10.0, 1, {"training": 4.0, "validation": 2.0, "preparing": 1.0})
    twice = added(added({}, run), run)
    assert twice == {"elapsed": 20, "training": 8, "validation": 4, "preparing": 2, "waiting": 6}


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        (1, "99 s on 1 slot: training 60 %, validation 10 %, preparing images 5 %, waiting 25 %"),
        (2, "99 s on 2 slots: training 30 %, validation 5 %, preparing images 2 %, waiting 62 %"),
    ],
)
def test_a_run_in_words(slots, text):
    run = time_spent(99.0, slots, {"training": 59.4, "validation": 9.9, "preparing": 4.95})
    assert described(run, slots) == text
