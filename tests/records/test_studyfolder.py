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
    """Versions and commit have tests of their own."""
    monkeypatch.setattr(search.records.studyfolder, "environment", lambda: {"python": "3"})


def read(path):
    return json.loads((path / "study.json").read_text(encoding="utf-8"))


def test_created_folder_can_be_opened_again(tmp_path):
    path = tmp_path / "results" / "mine"
    created = StudyFolder.create(path, DESCRIPTION)
    opened = StudyFolder.open(path)
    assert opened.path == path
    assert opened.description == json.loads(json.dumps(created.description)) == read(path)
    assert opened.description["arguments"] == DESCRIPTION["arguments"]
    assert opened.description["levels"] == ["a", "b"]
    assert opened.description["phases_done"] == []
    assert [entry.name for entry in path.iterdir()] == ["study.json"]
    assert DESCRIPTION == {"arguments": {"space": "x", "trials": None}, "levels": ("a", "b")}


def test_phases_are_noted_in_their_order(tmp_path):
    folder = StudyFolder.create(tmp_path / "s", {})
    for phase in ("search", "compare"):
        assert not folder.is_done(phase)
        folder.finish(phase)
        assert folder.is_done(phase)
        assert StudyFolder.open(tmp_path / "s").is_done(phase)
    assert read(tmp_path / "s")["phases_done"] == ["search", "compare"]
    assert not folder.is_done("test")


def test_update_is_written_at_once_and_keeps_the_rest(tmp_path):
    folder = StudyFolder.create(tmp_path / "s", DESCRIPTION)
    folder.update(winner={"level": "1+2"}, test={"accuracy": 0.5})
    folder.update(test={"accuracy": 0.75})
    written = read(tmp_path / "s")
    assert written["winner"] == {"level": "1+2"}
    assert written["test"] == {"accuracy": 0.75}
    assert written["arguments"] == DESCRIPTION["arguments"]


def test_nothing_is_overwritten(tmp_path):
    StudyFolder.create(tmp_path / "s", {"first": True})
    for path in (tmp_path / "s", tmp_path):
        with pytest.raises(InputError, match="--resume"):
            StudyFolder.create(path, {})
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file: it exists already"):
        StudyFolder.create(tmp_path / "file", {})
    assert read(tmp_path / "s")["first"] is True


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as caught:
        StudyFolder.create(tmp_path / "file" / "s", {})
    assert str(caught.value) == f"{tmp_path / 'file' / 's'}: Not a directory"


def test_folder_without_a_study_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError) as caught:
            StudyFolder.open(path)
        assert str(caught.value).startswith(f"{path}: there is no study in it")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xff", b"nonsense"])
def test_damaged_description_is_named(tmp_path, content):
    (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        StudyFolder.open(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'study.json'}: it cannot be read")


@pytest.mark.parametrize("content", ["[]", "5", "null"])
def test_description_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(InputError, match=r"study\.json"):
        StudyFolder.open(tmp_path)


def test_path_that_is_a_file_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file"):
        StudyFolder.open(tmp_path / "file")


def test_description_that_cannot_be_written(tmp_path):
    folder = StudyFolder.create(tmp_path / "s", {})
    (tmp_path / "s" / "study.json").unlink()
    (tmp_path / "s").rmdir()
    with pytest.raises(StudyFailedError, match=r"study\.json: No such file"):
        folder.update(x=1)


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
    """Whether the study can be run, by way of a folder opened anew."""
    with suppress(InputError), StudyFolder(path, {}).locked():
        return True
    with pytest.raises(InputError, match="another process is running this study"), StudyFolder(path, {}).locked():
        pass
    return False


def test_a_study_runs_once_in_a_process(tmp_path):
    folder, other = (StudyFolder.create(tmp_path / name, {}) for name in ("s", "other"))
    for _ in range(2):
        assert is_free(folder.path)
        with folder.locked():
            assert is_free(other.path)
            assert not is_free(folder.path)
            with pytest.raises(InputError, match="another process"), folder.locked():
                pass
            assert not is_free(folder.path)  # nor has the refused one released it


@pytest.mark.parametrize("error", [InputError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_a_study_that_ends_badly_is_released(tmp_path, error):
    with pytest.raises(type(error)), StudyFolder(tmp_path, {}).locked():
        raise error
    assert is_free(tmp_path)


def test_a_second_process_is_refused_until_the_first_ends(tmp_path, holder):
    assert not is_free(tmp_path)
    assert not is_free(tmp_path)
    holder.stdin.close()
    assert holder.wait(60) == 0
    assert is_free(tmp_path)


def test_a_process_that_is_killed_holds_nothing(tmp_path, holder):
    assert not is_free(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    assert holder.wait(60) == -signal.SIGKILL
    assert is_free(tmp_path)


def test_a_lock_file_left_behind_is_no_obstacle(tmp_path):
    (tmp_path / ".lock").write_text("1")
    assert is_free(tmp_path)


def test_folder_that_cannot_be_locked_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file"), StudyFolder(tmp_path / "file", {}).locked():
        pass


def test_paths_are_in_the_folder(tmp_path):
    folder = StudyFolder(tmp_path, {})
    assert folder.optuna_journal.parent == folder.model.parent == tmp_path


def test_now_is_in_utc():
    assert datetime.fromisoformat(now()).utcoffset() == timedelta(0)


def test_environment_says_what_a_study_runs_with():
    found = environment()
    assert set(found["versions"]) == {*LIBRARIES, "wbc-search"}
    assert all(found["versions"].values())
    assert found["commit"] is None or "\n" not in found["commit"]
    json.dumps(found)


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_no_commit_without_git(monkeypatch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert environment()["commit"] is None
