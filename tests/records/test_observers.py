"""Observers and live logs: they are notified in order, and their failures and delays do not stop a study."""

import threading

import pytest
from tiny_study import PATIENCE_S

from search.records import livelog
from search.records.livelog import LiveLog
from search.records.observers import Observers, Training
from search.records.schema import Key
from search.training.types import EpochResult, EpochScore

TRAINING = Training(key=Key(phase="search", number=7), title="trial 7", params={}, n_train=100, epochs=2)
CALLS = (
    ("begin", TRAINING),
    ("epoch", TRAINING, 1, "an epoch"),
    ("tick",),
    ("end", TRAINING, "COMPLETE", 0.5),
    ("close",),
)


def epoch(number):
    training = EpochResult(epoch=number, lr=0.1, train_loss=1, train_accuracy=0.5, train_s=2, data_s=1)
    return EpochScore(training=training, validation=None, val_s=0.0)


class Listener:
    """Remembers its calls, and raises an error at one of them."""

    def __init__(self, fails_at=None, error=RuntimeError):
        self.calls, self._fails_at, self._error = [], fails_at, error

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            if name == self._fails_at:
                raise self._error("first line\nand more")

        return call


@pytest.mark.parametrize("moment", range(len(CALLS)))
def test_an_observer_that_fails_is_reported_once_and_disabled(moment):
    notes = []
    broken, sound = Listener(fails_at=CALLS[moment][0]), Listener()
    observers = Observers([broken, sound], notes.append)
    for name, *arguments in 2 * CALLS:
        getattr(observers, name)(*arguments)
    assert broken.calls == list(CALLS[: moment + 1])
    assert sound.calls == 2 * list(CALLS)
    (note,) = notes
    assert note.startswith("Listener")
    assert note.endswith("RuntimeError: first line")


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        Observers([Listener("tick", KeyboardInterrupt)], pytest.fail).tick()


class FakeLog:
    """Remembers what is written; fails at one call, or waits for `gate` at each."""

    def __init__(self, fails_at=None, gate=None):
        self.calls, self._fails_at, self._gate = [], fails_at, gate

    def call(self, name):
        if self._gate is not None:
            self._gate.wait(PATIENCE_S)
        self.calls.append(name)
        if name == self._fails_at:
            raise RuntimeError("no room\nin here")

    def epoch(self, training, step, values):
        self.call(f"epoch {step}")

    def end(self, training, state, value):
        self.call("end")

    def flush(self):
        self.call("flush")

    def close(self):
        self.call("close")


def test_a_slow_log_delays_nobody_and_loses_nothing():
    gate, notes = threading.Event(), []
    fake = FakeLog(gate=gate)
    log = LiveLog("slow", lambda: fake, "accuracy", notes.append)
    for number in range(1, 101):
        log.epoch(TRAINING, 0, epoch(number))
    assert fake.calls == []
    gate.set()
    log.close()
    assert [call for call in fake.calls if call != "flush"] == [f"epoch {i}" for i in range(1, 101)] + ["close"]
    assert notes == []


def test_a_log_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(livelog, "CLOSE_S", 0.05)
    gate, notes = threading.Event(), []
    log = LiveLog("slow", lambda: FakeLog(gate=gate), "accuracy", notes.append)
    log.epoch(TRAINING, 0, epoch(1))
    log.close()
    gate.set()
    (note,) = notes
    assert note.startswith("--log-to slow")


@pytest.mark.parametrize("fails_at", ["open", "epoch 2", "end", "close"])
def test_a_log_that_fails_is_reported_once_and_disabled(fails_at):
    fake, notes = FakeLog(fails_at), []

    def make():
        fake.call("open")
        return fake

    log = LiveLog("mine", make, "accuracy", notes.append)
    for number in (1, 2, 3):
        log.epoch(TRAINING, 0, epoch(number))
    log.end(TRAINING, "COMPLETE", 0.5)
    log.close()
    after = [] if fails_at in ("open", "close") else ["close"]
    assert fake.calls[fake.calls.index(fails_at) + 1 :] == after
    (note,) = notes
    assert note.startswith("--log-to mine failed")
    assert note.endswith("RuntimeError: no room")
