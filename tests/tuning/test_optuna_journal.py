import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest
from search.tuning.storage import interrupts, journal_storage

from search.common.errors import InputError

# A process that is killed while it holds the lock of a journal in its working directory.
KILLED = """
import os, signal, sys
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
with get_lock_file({"open": JournalFileOpenLock, "link": JournalFileSymlinkLock}[sys.argv[2]](sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def add_trials(journal, n):
    """Open a journal, add trials, and say how many there are in all."""
    study = optuna.create_study(storage=journal_storage(journal), study_name="a", load_if_exists=True)
    for _ in range(n):
        study.tell(study.ask(), 1.0)
    return len(study.get_trials())


def in_order(journal):
    """The numbers of a journal's trials, as one sees them that opens it anew."""
    study = optuna.load_study(storage=journal_storage(journal), study_name="a")
    return [(trial.number, trial.state.name) for trial in study.get_trials()]


def test_a_journal_is_begun_and_gone_on_with(tmp_path):
    journal = tmp_path / "optuna.journal"
    assert add_trials(journal, 2) == 2
    assert add_trials(journal, 1) == 3
    assert list(tmp_path.iterdir()) == [journal]


def test_opening_changes_no_whole_journal(tmp_path):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 2)
    before = journal.read_bytes()
    journal_storage(journal)
    assert journal.read_bytes() == before


@pytest.mark.parametrize("extra", [b"{", b'{"op_code":4,"worker_id":"x', b"\x00" * 40, '{"é'.encode()[:-1]])
def test_a_last_line_that_was_cut_off_is_removed(tmp_path, extra):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 2)
    before = journal.read_bytes()
    journal.write_bytes(before + extra)
    assert add_trials(journal, 1) == 3
    assert journal.read_bytes().startswith(before)
    assert in_order(journal) == [(number, "COMPLETE") for number in range(3)]
    for line in journal.read_bytes().splitlines():
        json.loads(line)


def test_a_journal_cut_off_anywhere_can_be_gone_on_with(tmp_path):
    whole = tmp_path / "whole.journal"
    add_trials(whole, 2)
    data = whole.read_bytes()
    n_lines = data.count(b"\n")
    ends = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")]
    cuts = {cut for end in ends for cut in (end - 1, end, end + 1)} | {0, 1, len(data) // 2}
    for cut in sorted(cut for cut in cuts if cut <= len(data)):
        journal = tmp_path / f"{cut}.journal"
        journal.write_bytes(data[:cut])
        journal_storage(journal)
        assert journal.read_bytes() == data[:cut][: data[:cut].rfind(b"\n") + 1]
        assert journal.read_bytes().count(b"\n") <= n_lines
        assert add_trials(journal, 1) >= 1
        assert in_order(journal)[-1][1] == "COMPLETE"


@pytest.mark.parametrize("content", [b"", b'{"op_code":0,"worker_id":"x","study_na'])
def test_a_journal_without_a_whole_line_is_a_new_one(tmp_path, content):
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(content)
    assert add_trials(journal, 1) == 1
    assert in_order(journal) == [(0, "COMPLETE")]


# Optuna waits half a minute for a lock whose file is there, and without end for a link that leads nowhere.
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("kind", ["link", "open"])
def test_the_lock_of_a_killed_process_is_no_hindrance(tmp_path, monkeypatch, kind, relative):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "study"
    folder.mkdir()
    journal = folder / "optuna.journal"
    add_trials(journal, 1)
    # From a relative path the link leads to study/study/optuna.journal.
    locked = journal.relative_to(tmp_path) if relative else journal
    killed = subprocess.run([sys.executable, "-c", KILLED, str(locked), kind], check=False)
    assert killed.returncode == -signal.SIGKILL
    lock = folder / "optuna.journal.lock"
    assert os.path.lexists(lock)
    assert lock.is_symlink() == (kind == "link")
    assert lock.exists() == (kind == "open" or not relative)
    began = time.monotonic()
    assert add_trials(journal, 1) == 2
    assert time.monotonic() - began < 5
    assert list(folder.iterdir()) == [journal]


def test_a_lock_that_was_being_released_is_removed(tmp_path):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 1)
    (tmp_path / "optuna.journal.lock0c5e9d5e-1f0f-4b0e-9d8b-1234567890ab.rename").symlink_to(journal)
    (tmp_path / "optuna.journal.lock0c5e9d5e-1f0f-4b0e-9d8b-1234567890ac.rename").symlink_to("nowhere")
    (tmp_path / "journal.jsonl.lock").touch()
    journal_storage(journal)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl.lock", "optuna.journal"]


@pytest.mark.parametrize("call", ["rename", "unlink"])
def test_a_ctrl_c_that_breaks_into_the_lock_is_told_from_a_failure(tmp_path, monkeypatch, call):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 1)
    done = getattr(os, call)

    def broken(*arguments):
        done(*arguments)
        monkeypatch.undo()
        raise KeyboardInterrupt

    study = optuna.load_study(storage=journal_storage(journal), study_name="a")
    monkeypatch.setattr(os, call, broken)
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        study.ask()
    assert interrupts(raised.value)
    assert add_trials(journal, 1) >= 2
    assert not interrupts(FileNotFoundError("gone"))


def test_a_damaged_line_in_the_middle_is_not_passed_over(tmp_path):
    journal = tmp_path / "optuna.journal"
    add_trials(journal, 2)
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = b"#" + lines[2][1:]
    journal.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"optuna.journal: line 3 is damaged"):
        journal_storage(journal)
    assert journal.read_bytes() == b"".join(lines)
