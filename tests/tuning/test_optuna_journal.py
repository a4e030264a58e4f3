import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from search.common.errors import InputError
from search.tuning.optuna_journal import interrupts_deferred, journal_storage

# A process that is killed while it holds the lock of a journal.
KILLED = """
import os, signal, sys
from optuna.storages.journal import JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
with get_lock_file({"open": JournalFileOpenLock, "link": JournalFileSymlinkLock}[sys.argv[2]](sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def add_trials(journal, n):
    """Open a journal, add trials, and return how many there are in all."""
    study = optuna.create_study(storage=journal_storage(journal), study_name="a", load_if_exists=True)
    for _ in range(n):
        study.tell(study.ask(), 1.0)
    return len(study.get_trials())


def test_a_journal_is_created_and_continued_and_opening_does_not_change_it(tmp_path):
    journal = tmp_path / "optuna.journal"
    assert add_trials(journal, 2) == 2
    assert add_trials(journal, 1) == 3
    before = journal.read_bytes()
    journal_storage(journal)
    assert journal.read_bytes() == before
    assert list(tmp_path.iterdir()) == [journal]


def test_a_journal_cut_off_anywhere_can_be_continued(tmp_path):
    whole = tmp_path / "whole.journal"
    add_trials(whole, 2)
    data = whole.read_bytes()
    ends = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")]
    for cut in sorted({cut for end in ends[-4:] for cut in (end - 1, end)} | {0, 1, len(data) // 2}):
        journal = tmp_path / f"{cut}.journal"
        journal.write_bytes(data[:cut])
        journal_storage(journal)
        assert journal.read_bytes() == data[: data[:cut].rfind(b"\n") + 1]
        assert add_trials(journal, 1) >= 1


# Optuna waits half a minute for a lock that exists, and forever for a link that leads nowhere.
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("kind", ["link", "open"])
def test_the_lock_of_a_killed_process_is_removed(tmp_path, monkeypatch, kind, relative):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "study"
    folder.mkdir()
    journal = folder / "optuna.journal"
    add_trials(journal, 1)
    locked = journal.relative_to(tmp_path) if relative else journal
    killed = subprocess.run([sys.executable, "-c", KILLED, str(locked), kind], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.path.lexists(folder / "optuna.journal.lock")
    (folder / "optuna.journal.lock0c5e9d5e.rename").symlink_to("nowhere")
    began = time.monotonic()
    assert add_trials(journal, 1) == 2
    assert time.monotonic() - began < 5
    assert list(folder.iterdir()) == [journal]


@pytest.fixture
def interruptible():
    """Ctrl-C and SIGTERM end a test as they end a command."""
    before = {
        number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", ["symlink", "rename", "unlink"])
def test_an_interrupt_waits_until_the_lock_is_released(tmp_path, monkeypatch, interruptible, call, number):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 1)
    original = getattr(os, call)

    def interrupted(*arguments):
        original(*arguments)
        monkeypatch.undo()
        signal.raise_signal(number)

    study = optuna.load_study(storage=journal_storage(journal), study_name="a")
    monkeypatch.setattr(os, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.ask()
    assert list(tmp_path.iterdir()) == [journal]
    assert add_trials(journal, 1) == 3


def test_an_uninterrupted_block_leaves_the_handlers_as_they_were(interruptible):
    with interrupts_deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_damaged_line_is_named(tmp_path):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 2)
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = b"#" + lines[2][1:]
    journal.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"optuna.journal: line 3 .*--force"):
        journal_storage(journal)
    assert journal.read_bytes() == b"".join(lines)
