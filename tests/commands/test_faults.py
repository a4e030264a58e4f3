"""What dies, and what is left: the real command, killed at moments all through a study, and gone on with.

`pytest tests/test_faults.py --kills 20` kills it at twenty moments.
"""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from tiny_study import assert_same_tables, command, start, table

from search.records.schema import TABLES

PATIENCE_S = 180


@pytest.fixture(scope="module")
def arguments(cells, others, space):
    return (
        *("search.run", "--space", space, "--data", cells, "--transfer-data", others, "--profile", "quick"),
        *("--trials", 8, "--folds", 2, "--seed", 3, "--max-concurrent", 1, "--finalists", 2),
        *("--sampler", "random"),
    )


@pytest.fixture(scope="module")
def unbroken(arguments, tmp_path_factory):
    output = tmp_path_factory.mktemp("unbroken")
    done = command(*arguments, "--output", output, "--name", "study")
    assert done.returncode == 0, done.stderr
    return output / "study"


def entries(folder):
    """The journal's entries; a last line may be half written."""
    journal = folder / "journal.jsonl"
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return [json.loads(line) for line in lines]


def epochs_trained(folder):
    """Epochs that were ever entered, also those that were taken back since."""
    added = (entry for entry in entries(folder) if entry["do"] == "add" and entry["table"] == "epochs")
    return sum(len(entry["columns"]["epoch"]) for entry in added)


def wait_until(condition, process):
    """What the condition gives once it holds, or when the process has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.003)
    return found


def n_lines(folder):
    journal = folder / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@pytest.mark.ray
def test_a_study_killed_again_and_again_comes_out_as_if_never_broken(unbroken, arguments, tmp_path, request):
    n_kills, folder = request.config.getoption("--kills"), tmp_path / "study"
    total, killed_in = n_lines(unbroken), Counter()
    for kill in range(1, n_kills + 1):
        resumes = (folder / "study.json").exists()
        again = ("search.run", "--resume", folder, "--max-concurrent", 1)
        run = start(*(again if resumes else (*arguments, "--output", tmp_path, "--name", "study")))
        # Each kill makes for entries that take back and repeat; the study is to be hit until its very end.
        repeated = n_lines(folder) - len({json.dumps(entry) for entry in entries(folder)})
        wait_until(lambda moment=kill * total // (n_kills + 1) + repeated: n_lines(folder) >= moment, run)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        described = json.loads((folder / "study.json").read_text())
        killed_in[len(described["phases_done"])] += 1
        assert "finished" not in described
    resumed = command("search.run", "--resume", folder, "--max-concurrent", 1)
    assert resumed.returncode == 0, resumed.stderr
    assert len(killed_in) >= min(n_kills, 4)  # phases
    assert sorted(table(folder, "trials")["number"]) == list(range(8))
    assert_same_tables(unbroken, folder, [name for name in TABLES if name != "pareto"])
    assert epochs_trained(unbroken) == len(table(unbroken, "epochs"))
    assert epochs_trained(folder) <= len(table(folder, "epochs")) + n_kills
    assert not list((folder / "checkpoints").glob("*"))
    weights = Path("model") / "weights.safetensors"
    assert (folder / weights).read_bytes() == (unbroken / weights).read_bytes()


def worker_processes(name):
    """Processes of Ray whose title begins so: an actor's class, or the training that one is at."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"ray::{name}" in (process / "cmdline").read_text():
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    return found


@pytest.mark.ray
def test_a_worker_that_is_killed_costs_an_epoch_at_most(unbroken, arguments, tmp_path):
    folder, killed = tmp_path / "study", []
    moments = {"TrialWorker": 3, "compare": n_lines(unbroken) // 2}
    others = {process for name in moments for process in worker_processes(name)}
    run = start(*arguments, "--output", tmp_path, "--name", "study")
    for name, moment in moments.items():

        def at_work(name=name, moment=moment):
            return n_lines(folder) >= moment and set(worker_processes(name)) - others

        for process in wait_until(at_work, run):
            os.kill(process, signal.SIGKILL)
            killed.append(name)
    _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, errors
    assert set(killed) == set(moments)
    assert_same_tables(unbroken, folder, ["trials", "epochs", "folds", "comparison"])
    assert epochs_trained(folder) <= len(table(folder, "epochs")) + len(killed)


@pytest.mark.ray
def test_a_trial_that_takes_too_long_fails_alone(space, cells, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text(
        space.read_text().replace("epochs=2, lr=suggest", 'epochs=2 if norm == "batch" else 10**6, lr=suggest')
    )
    done = command(
        *("search.run", "--space", slow, "--data", cells, "--profile", "quick", "--trials", 8, "--folds", 2),
        *("--trial-timeout", "4s", "--output", tmp_path, "--name", "study", "--pruner", "none"),
    )
    assert done.returncode == 0, done.stderr
    trials = table(tmp_path / "study", "trials").set_index("number")
    late = trials[trials["params_norm"] == "group"]
    assert len(late) > 0
    assert (late["state"] == "FAIL").all()
    assert late["error"].str.contains("did not end within 4 s").all()
    assert (trials[trials["params_norm"] == "batch"]["state"] == "COMPLETE").all()
    assert sorted(trials.index) == list(range(8))


@pytest.mark.ray
def test_a_full_disk_ends_in_one_line_and_readable_tables(unbroken, arguments, tmp_path):
    folder = tmp_path / "study"
    run = start(*arguments, "--output", tmp_path, "--name", "study")
    wait_until(lambda: n_lines(folder) >= 5, run)
    (folder / ".epochs.parquet.partial").symlink_to("/dev/full")
    _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert "No space left on device" in errors
    assert len(errors.strip().splitlines()) == 1
    assert len(table(folder, "epochs")) >= 0
    resumed = command("search.run", "--resume", folder, "--max-concurrent", 1)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_tables(unbroken, folder, ["trials", "epochs", "folds", "comparison"])
