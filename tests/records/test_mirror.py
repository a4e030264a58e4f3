"""Studies kept at addresses: at every moment, what is there resumes as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3_server import s3_server
from simulated_search import SimulatedSearch, assert_same, check_tables

from search.common.errors import InputError, StudyFailedError
from search.records import ledger
from search.records.mirror import lock, upload
from search.records.mirror.home import fetch_study, local_copy, study_home
from search.records.mirror.store import Store
from search.records.schema import TABLES
from search.records.studyfolder import StudyFolder

ADDRESS = "memory://lab/studies/cells"
SEARCH = {"sampler": "random", "n_trials": 9, "folds": 2}


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(upload, "EVERY_S", 0.01)
    monkeypatch.setattr(upload, "HEARTBEAT_S", 0.05)


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture
def bucket(monkeypatch):
    with s3_server(monkeypatch) as client:
        client.create_bucket(Bucket="lab")
        yield client


@pytest.fixture
def said():
    return []


@pytest.fixture
def moments(memory, monkeypatch):
    """What is in the store after each change: where a process that is killed leaves it."""
    seen = []

    def watched(original):
        def changing(self, *arguments, **options):
            original(self, *arguments, **options)
            seen.append({path: file.getvalue() for path, file in list(self.store.items())})

        return changing

    for name in ("pipe_file", "put_file", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, watched(getattr(MemoryFileSystem, name)))
    return seen


def put_back(memory, moment):
    """Leave the store as it was at a moment, and nothing on this machine."""
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for path, content in moment.items():
        memory.pipe_file(path, content)
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@contextmanager
def searching(folder, said, address=ADDRESS, *, new=True):
    """A simulated search in the working folder of an address."""
    with study_home(address, new=new, say=said.append) as home:
        search = SimulatedSearch(home.path if new else folder / str(time.monotonic_ns()), **SEARCH)
        if not new:
            search.kill()
            search.folder = StudyFolder.open(home.path)
            search.restart()
        home.mirror.follow(said.append)
        try:
            yield search
        finally:
            search.ledger.close()


def slowly(search):
    """Runs a search with time to upload after each epoch."""
    while (trial := search.ask()) is not None:
        while trial.number in search.running:
            search.advance(trial.number)
            search.ledger.flush_if_due()
            time.sleep(0.02)
    return search


@pytest.mark.parametrize("part_rows", [ledger.PART_ROWS, 30])
def test_a_killed_study_resumes_from_what_is_at_the_address(
    memory, moments, said, tmp_path, monkeypatch, part_rows
):
    monkeypatch.setattr(upload, "MOST_ENTRIES", 7)
    monkeypatch.setattr(ledger, "PART_ROWS", part_rows)
    monkeypatch.setattr(ledger, "FLUSH_EVERY_S", 0.05)
    with searching(tmp_path, said) as search:
        slowly(search)
        undisturbed = SimpleNamespace(table={name: search.table(name) for name in TABLES}.get)
    entries = [index for index, moment in enumerate(moments) if any("/.log/" in path for path in moment)]
    assert len(entries) > 20
    for index in entries[:: len(entries) // 8]:
        put_back(memory, moments[index])
        if memory.exists("/lab/studies/cells/.lock"):  # and not given back yet
            lock = json.loads(memory.cat_file("/lab/studies/cells/.lock"))
            memory.pipe_file("/lab/studies/cells/.lock", json.dumps(lock | {"renewed": 0}).encode())
        with searching(tmp_path, said, new=False) as search:
            search.run()
            check_tables(search)
            assert_same(search, undisturbed)
            # A trial that ended just before has left its own, which the end of the phase removes.
            kept = {path.name for path in (search.folder.path / "checkpoints").glob("*.safetensors")}
        there = [path.rpartition("/")[2] for path in memory.store if "/checkpoints/" in path]
        assert {name.rpartition(".")[0] for name in there} == kept
        assert len(there) == len(kept)
        assert not [path for path in memory.store if path.endswith(".lock")]


def test_a_resumed_study_is_at_the_address_at_every_moment(memory, moments, said, tmp_path, monkeypatch):
    monkeypatch.setattr(upload, "HEARTBEAT_S", 60)  # in memory, unlike in a bucket, it would see half an upload
    monkeypatch.setattr(ledger, "PART_ROWS", 30)
    monkeypatch.setattr(ledger, "FLUSH_EVERY_S", 0.0)
    with searching(tmp_path, said) as search:
        slowly(search)
    before = len(moments)
    assert any("/epochs.parquet/" in path for path in memory.store)
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
    memory.pipe_file("/lab/studies/cells/epochs.parquet/00099.parquet", b"of a run that died")
    with searching(tmp_path, said, new=False) as search:
        rows = {name: len(search.ledger.read(name)) for name in TABLES}
    parts = {path.name for path in (search.folder.path / "epochs.parquet").iterdir()}
    assert {path.rpartition("/")[2] for path in memory.store if "/epochs.parquet/" in path} == parts
    assert len(moments) > before
    for number, moment in enumerate(moments[before:]):
        put_back(memory, moment)
        folder = tmp_path / f"fetched-{number}"
        folder.mkdir()
        fetch_study(Store(ADDRESS), folder)
        fetched = ledger.Ledger(folder)
        assert {name: len(fetched.read(name)) for name in TABLES} == rows
        fetched.close()


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_bucket_has_all_that_the_folder_has(bucket, said, tmp_path):
    with searching(tmp_path, said, "s3://lab/studies/cells") as search:
        (search.folder.path / "model").mkdir()
        (search.folder.path / "model" / "config.json").write_text("{}")
        path = search.run().folder.path
    expected = contents(path)
    assert {"study.json", "journal.jsonl", "optuna.journal", "trials.parquet", "model/config.json"} <= set(
        expected
    )
    listed = bucket.list_objects_v2(Bucket="lab", Prefix="studies/cells/")["Contents"]
    names = {each["Key"].removeprefix("studies/cells/") for each in listed}
    assert {name for name in names if not name.startswith(".log/")} == set(expected)
    elsewhere = tmp_path / "elsewhere"
    fetch_study(Store("s3://lab/studies/cells"), elsewhere)
    assert contents(elsewhere) == expected
    assert said == []


def test_a_second_process_is_refused_and_the_address_is_free_afterwards(bucket, said):
    address = "s3://lab/studies/cells"
    holder = f"{address}: process {os.getpid()} on {lock.this_machine()['host']}"
    with study_home(address, new=True, say=said.append):
        for new in (True, False):
            with pytest.raises(InputError, match=holder):
                study_home(address, new=new, say=said.append).__enter__()
    with study_home(address, new=True, say=said.append):
        pass
    assert said == []


@pytest.mark.parametrize("host", [lock.this_machine()["host"], "elsewhere"])
def test_a_lock_is_taken_over_from_a_process_that_has_died(memory, said, host):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    renewed = time.time() - (0 if host != "elsewhere" else 2 * lock.STALE_S)
    held = {**lock.this_machine(), "host": host, "pid": ended.pid, "renewed": renewed, "session": "other"}
    memory.pipe_file("/lab/studies/cells/.lock", json.dumps(held).encode())
    with study_home(ADDRESS, new=True, say=said.append):
        (line,) = said
        assert f"process {ended.pid} on {host}" in line
    held |= {"host": "elsewhere", "renewed": time.time()}
    memory.pipe_file("/lab/studies/cells/.lock", json.dumps(held).encode())
    with pytest.raises(InputError, match=f"process {ended.pid} on elsewhere"):
        study_home(ADDRESS, new=True, say=said.append).__enter__()


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def lock_it(memory):
    held = {"host": "elsewhere", "pid": 1, "renewed": time.time(), "session": "other"}
    memory.pipe_file("/lab/studies/cells/.lock", json.dumps(held).encode())


def write_next_entry(memory):
    *_, last = Store(ADDRESS).names(".log")
    number = int(last.removeprefix(".log/").removesuffix(".json.gz")) + 1
    memory.pipe_file(f"/lab/studies/cells/.log/{number:08d}.json.gz", b"another's")


@pytest.mark.parametrize("take_over", [lock_it, write_next_entry])
def test_a_study_that_is_taken_over_stops(memory, said, tmp_path, interruptible, take_over):
    def run_until_stopped():
        with searching(tmp_path, said) as search:
            slowly(search)
            time.sleep(0.5)
            take_over(memory)
            search.folder.update(note="one more thing to upload")
            time.sleep(30)

    with pytest.raises(StudyFailedError, match="another process has taken this study over"):
        run_until_stopped()


def test_readers_get_a_copy_of_the_tables(memory, said, tmp_path):
    with searching(tmp_path, said) as search:
        search.run()
    expected = contents(search.folder.path)
    copy = contents(local_copy(ADDRESS))
    read = {"study.json", "trials.parquet", "predictions.parquet", "optuna.journal"}
    assert read <= set(copy)
    assert all(copy[name] == expected[name] for name in read)
    assert local_copy(str(tmp_path)) == tmp_path
    with pytest.raises(InputError, match="no study"):
        local_copy("memory://lab/studies/others")


class LineDownError(Exception):
    """As storages raise it."""


@pytest.mark.parametrize("arrives", [False, True])
def test_a_lost_network_is_waited_for(memory, said, tmp_path, monkeypatch, arrives):
    real, left = MemoryFileSystem.pipe_file, [0]

    def pipe_file(self, *arguments, **options):
        left[0] -= 1
        if left[0] < 0 or arrives:
            real(self, *arguments, **options)
        if left[0] >= 0:
            raise LineDownError("the line is down")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    with searching(tmp_path, said) as search:
        left[0] = 3
        expected = contents(slowly(search).folder.path)
    # Where what was lost had arrived, the next attempt gets through, and the next entry meets the line down again.
    assert 1 <= sum("the line is down" in line for line in said) <= (3 if arrives else 1)
    elsewhere = tmp_path / "elsewhere"
    fetch_study(Store(ADDRESS), elsewhere)
    assert contents(elsewhere)["journal.jsonl"] == expected["journal.jsonl"]


def test_a_network_that_does_not_come_back_ends_the_study(memory, said, tmp_path, monkeypatch, interruptible):
    def fail(self, *arguments, **options):
        raise LineDownError("the line is down")

    def run_without_network():
        with searching(tmp_path, said) as search:
            slowly(search)
            monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
            monkeypatch.setattr(MemoryFileSystem, "put_file", fail)
            monkeypatch.setattr(upload, "GIVE_UP_S", 0.1)
            search.folder.update(note="one more thing to upload")
            time.sleep(30)

    with pytest.raises(StudyFailedError, match=f"the line is down.* --resume {ADDRESS}"):
        run_without_network()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with searching(tmp_path, said, new=False) as search:  # on the same machine, nothing is lost
        assert search.folder.description["note"] == "one more thing to upload"


def refusal(address, *, new):
    with pytest.raises(InputError) as caught:
        study_home(address, new=new, say=print).__enter__()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(address)
    return str(caught.value)


def test_what_cannot_be_is_told_in_one_line(bucket, memory, said, tmp_path, monkeypatch):
    memory.pipe_file("/lab/studies/cells/anything", b"")
    assert "already exists" in refusal(ADDRESS, new=True)
    assert "no study" in refusal(ADDRESS, new=False)
    assert "unknown kind" in refusal("nothing://lab/cells", new=True)
    assert "no such" in refusal("s3://elsewhere/cells", new=True)
    assert not [path for path in memory.store if path.endswith(".lock")]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "credentials" in refusal("s3://lab/cells", new=True)
