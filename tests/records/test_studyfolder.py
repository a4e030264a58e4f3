import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import search.records.studyfolder
from search.common.errors import InputError, StudyFailedError
from search.records.studyfolder import LIBRARIES, StudyFolder, environment, now

DESCRIPTION = {"arguments": {"space": "x", "trials": None}, "levels": ("a", "b")}


@pytest.fixture(autouse=True)
def _no_lookups(monkeypatch):
    """Versions and commit have a test of their own."""
    monkeypatch.setattr(search.records.studyfolder, "environment", lambda: {"python": "3"})


def test_a_created_folder_opens_with_all_that_was_changed(tmp_path):
    path = tmp_path / "results" / "mine"
    created = StudyFolder.create(path, DESCRIPTION)
    for phase in ("search", "compare"):
        assert not created.is_done(phase)
        created.finish(phase)
        assert StudyFolder.open(path).is_done(phase)
    created.update(winner={"level": "1+2"}, test={"accuracy": 0.5})
    created.update(test={"accuracy": 0.75})
    opened = StudyFolder.open(path)
    assert opened.description == json.loads(json.dumps(created.description))
    assert opened.description["levels"] == ["a", "b"]
    assert opened.description["phases_done"] == ["search", "compare"]
    assert (opened.description["winner"], opened.description["test"]) == ({"level": "1+2"}, {"accuracy": 0.75})
    assert [entry.name for entry in path.iterdir()] == ["study.json"]
    assert opened.optuna_journal.parent == opened.model.parent == path


def test_nothing_is_overwritten(tmp_path):
    StudyFolder.create(tmp_path / "s", {"first": True})
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "s", tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match=f"{path}: .*--resume"):
            StudyFolder.create(path, {})
    assert StudyFolder.open(tmp_path / "s").description["first"] is True


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=f"{tmp_path / 'file' / 's'}: Not a directory"):
        StudyFolder.create(tmp_path / "file" / "s", {})
    with pytest.raises(InputError, match="file"), StudyFolder(tmp_path / "file", {}).locked():
        pass
    folder = StudyFolder.create(tmp_path / "s", {})
    folder.description_file.unlink()
    folder.path.rmdir()
    with pytest.raises(StudyFailedError, match=r"study\.json: No such file"):
        folder.update(x=1)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xff", b"[]", b"null"])
def test_what_describes_no_study_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path}.*study\\.json"):
        StudyFolder.open(tmp_path)


# One process at a time

HOLD = """
import sys
from pathlib import Path
from search.records.studyfolder import StudyFolder
with StudyFolder(Path(sys.argv[1]), {}).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that runs the study in tmp_path until its input ends."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def is_free(path):
    """Whether the study can be run."""
    with suppress(InputError), StudyFolder(path, {}).locked():
        return True
    with pytest.raises(InputError, match=str(path)), StudyFolder(path, {}).locked():
        pass
    return False


@pytest.mark.parametrize("error", [None, InputError("x"), KeyboardInterrupt()], ids=repr)
def test_a_study_runs_once_in_a_process_and_is_released_however_it_ends(tmp_path, error):
    (tmp_path / ".lock").write_text("1")  # a file left behind is no obstacle
    (tmp_path / "other").mkdir()
    with suppress(type(error) if error else ()), StudyFolder(tmp_path, {}).locked():
        assert is_free(tmp_path / "other")
        assert not is_free(tmp_path)
        assert not is_free(tmp_path)  # a refused process has not released it
        if error:
            raise error
    assert is_free(tmp_path)


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_process_is_refused_until_the_first_ends(tmp_path, holder, killed):
    assert not is_free(tmp_path)
    if killed:
        os.kill(holder.pid, signal.SIGKILL)
    else:
        holder.stdin.close()
    assert holder.wait(60) == (-signal.SIGKILL if killed else 0)
    assert is_free(tmp_path)


def test_the_environment_lists_versions_and_a_commit_where_there_is_git(monkeypatch):
    assert datetime.fromisoformat(now()).utcoffset() == timedelta(0)
    found = environment()
    assert set(found["versions"]) == {*LIBRARIES, "wbc-search"}
    assert all(json.loads(json.dumps(found["versions"])).values())
    for error in (FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)):
        monkeypatch.setattr(subprocess, "run", lambda *args, error=error, **options: (_ for _ in ()).throw(error))
        assert environment()["commit"] is None
