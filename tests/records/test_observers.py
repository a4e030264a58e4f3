"""Those who look on: all are told the same, and none of them costs a study anything."""

import sys
import threading

import pytest
from tiny_study import PATIENCE_S

from search import run
from search.common.commandline import exit_code
from search.records import livelog
from search.records.arguments import LOGS
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


class Recorder:
    """Takes down what it is told, and fails at one thing."""

    def __init__(self, fails_at=None):
        self.told, self._fails_at = [], fails_at

    def __getattr__(self, name):
        def tell(*arguments):
            self.told.append((name, *arguments))
            if name == self._fails_at:
                raise RuntimeError(f"no {name}\nand more of it")

        return tell


def tell_all(observers):
    for name, *arguments in CALLS:
        getattr(observers, name)(*arguments)


def test_all_are_told_the_same_in_order():
    first, second = Recorder(), Recorder()
    tell_all(Observers([first, second], pytest.fail))
    assert first.told == second.told == list(CALLS)


def test_a_study_that_no_one_looks_at():
    tell_all(Observers([], pytest.fail))


@pytest.mark.parametrize("moment", range(len(CALLS)))
def test_one_that_fails_is_told_of_once_and_told_no_more(moment):
    notes = []
    name = CALLS[moment][0]
    broken, sound = Recorder(fails_at=name), Recorder()
    observers = Observers([broken, sound], notes.append)
    tell_all(observers)
    assert broken.told == list(CALLS[: moment + 1])
    assert sound.told == list(CALLS)
    tell_all(observers)
    assert notes == [f"Recorder failed, and is told no more: RuntimeError: no {name}"]


def test_an_interruption_is_not_held_up():
    class Interrupted(Recorder):
        def tick(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Interrupted()], pytest.fail).tick()


class FakeLog:
    """Takes down what it is told; `fails_at` one call, or waits for `gate` at each."""

    def __init__(self, fails_at=None, gate=None):
        self.calls, self._fails_at, self._gate = [], fails_at, gate

    def last_step(self, run):
        return 0

    def _call(self, name):
        if self._gate is not None:
            self._gate.wait(PATIENCE_S)
        self.calls.append(name)
        if name == self._fails_at:
            raise RuntimeError("no room\nin here")

    def epoch(self, run, step, values):
        self._call(f"epoch {step}")

    def end(self, run, state, value):
        self._call("end")

    def flush(self):
        self._call("flush")

    def close(self):
        self._call("close")


def test_a_slow_log_keeps_no_one_waiting_and_loses_nothing():
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
    assert notes == ["--log-to slow: it takes too long, and lacks the last epochs"]


@pytest.mark.parametrize("fails_at", ["open", "epoch 2", "end", "close"])
def test_a_log_that_fails_is_told_of_once(fails_at):
    fake, notes = FakeLog(fails_at), []

    def make():
        fake._call("open")
        return fake

    log = LiveLog("mine", make, "accuracy", notes.append)
    for number in (1, 2, 3):
        log.epoch(TRAINING, 0, epoch(number))
    log.end(TRAINING, "COMPLETE", 0.5)
    log.close()
    after = [] if fails_at in ("open", "close") else ["close"]
    assert fake.calls[fake.calls.index(fails_at) + 1 :] == after
    assert notes == ["--log-to mine failed, and is given up: RuntimeError: no room"]
    log.epoch(TRAINING, 0, epoch(4))
    assert fake.calls[fake.calls.index(fails_at) + 1 :] == after


@pytest.fixture
def complaint(tmp_path, capsys, monkeypatch):
    """Gives the one line that a command line with this --log-to ends with, before anything is begun."""
    from search.study import launch as session

    monkeypatch.setattr(session, "new_study", lambda *arguments: pytest.fail("a study was begun"))

    def complain(value):
        code = exit_code(run.app, ["--output", str(tmp_path / "results"), "--log-to", value])
        printed = capsys.readouterr()
        assert (code, printed.out) == (2, "")
        (line,) = printed.err.splitlines()
        return line

    return complain


@pytest.mark.parametrize("kind", LOGS)
def test_a_missing_extra_is_named_before_anything_begins(kind, complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    line = complaint(kind)
    assert f"--log-to {kind}" in line
    assert f"wbc-search[{kind}]" in line


@pytest.mark.parametrize("value", ["wandb", "TensorBoard", "", "tensorboard,mlflow"])
def test_another_log_is_refused(value, complaint):
    line = complaint(value)
    assert all(word in line for word in (f"--log-to {value}".strip(), *LOGS))
