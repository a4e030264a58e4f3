"""Studies whose processes are killed, whose disk fills, or which are interrupted: nothing recorded is lost."""

from pathlib import Path

import pytest
from tiny_study import (
    PATIENCE_S,
    assert_same_tables,
    command,
    described,
    epochs_trained,
    start,
    table,
    wait_until,
)

from search.records.schema import TABLES

pytestmark = pytest.mark.ray
EPOCHS = 2  # of a training


@pytest.fixture
def run(finished, cluster, tmp_path):
    """Starts the finished study once more in another folder, or resumes it there."""
    folder = tmp_path / "study"
    new = (*finished.arguments, "--output", tmp_path, "--name", folder.name)
    again = ("search.run", "--resume", folder, "--max-concurrent", 1)
    return lambda: start(*(again if folder.exists() else new), "--address", cluster.address)


def end(run):
    """Wait for a study's end: (exit code, lines of its errors)."""
    _, errors = run.communicate(timeout=PATIENCE_S)
    return run.returncode, errors.strip().splitlines()


def kill(run, condition):
    """Kill a study once a condition holds."""
    wait_until(condition, run)
    run.kill()
    run.communicate()


def assert_undisturbed(folder, finished, n_losses):
    """A study has come out like the one that nothing disturbed; each loss cost an epoch at most."""
    assert_same_tables(finished.folder, folder, TABLES)
    weights = Path("model") / "weights.safetensors"
    assert (folder / weights).read_bytes() == (finished.folder / weights).read_bytes()
    assert epochs_trained(folder) <= len(table(folder, "epochs")) + n_losses
    assert not list((folder / "checkpoints").glob("*"))


def test_an_undisturbed_study_trains_no_epoch_twice(finished):
    assert epochs_trained(finished.folder) == len(table(finished.folder, "epochs"))


def test_a_study_that_is_killed_in_two_phases_and_runs_out_of_disk_loses_nothing(finished, run, tmp_path):
    folder = tmp_path / "study"
    kill(run(), lambda: epochs_trained(folder) > EPOCHS)
    assert described(folder)["phases_done"] == []

    resumed = run()
    wait_until(lambda: epochs_trained(folder, "compare") > EPOCHS, resumed)
    (folder / ".epochs.parquet.partial").symlink_to("/dev/full")
    code, (error,) = end(resumed)
    assert code == 1
    assert "No space left on device" in error
    assert len(table(folder, "epochs")) > 0

    kill(run(), lambda: epochs_trained(folder, "transfer") > EPOCHS)
    assert described(folder)["phases_done"] == ["search", "compare", "test"]
    assert end(run()) == (0, [])
    assert_undisturbed(folder, finished, n_losses=3)


def test_a_study_that_is_interrupted_and_loses_workers_loses_nothing(finished, interrupted):
    assert interrupted.errors.count("--resume") == 1
    assert "Traceback" not in interrupted.errors
    assert 0 < interrupted.elapsed_s < described(interrupted.folder)["time"]["elapsed"]
    assert_undisturbed(interrupted.folder, finished, n_losses=3)


def test_a_finished_study_is_not_resumed(finished):
    refused = command("search.run", "--resume", finished.folder)
    assert refused.returncode == 2
    assert "finished" in refused.stderr


def test_a_trial_that_fails_or_takes_too_long_fails_alone(space, cells, cluster, tmp_path):
    chosen = ("batch", 0.02), ("batch", 1e30), ("group", 0.02)
    points = [{"norm": norm, "dropout": 0.2, "lr": lr} for norm, lr in chosen]
    text = space.read_text().replace('"lr", 0.01, 0.05', '"lr", 0.01, 1e30')
    text = text.replace("epochs=2, lr=suggest", 'epochs=2 if norm == "batch" else 10**6, lr=suggest')
    hard = tmp_path / "hard.py"
    hard.write_text(text.replace('({"norm": "batch", "dropout": 0.2, "lr": 0.02},)', repr(points)))
    done = command(
        *("search.run", "--space", hard, "--data", cells, "--profile", "quick", "--trials", 6, "--folds", 2),
        *("--trial-timeout", "4s", "--pruner", "none", "--search-folds", 2),
        *("--address", cluster.address, "--output", tmp_path, "--name", "study"),
    )
    assert done.returncode == 0, done.stderr
    trials = table(tmp_path / "study", "trials").set_index("number").sort_index()
    assert described(tmp_path / "study")["winner"]["setting"] == 0
    assert trials["state"].tolist() == ["COMPLETE"] * 2 + ["FAIL"] * 4
    assert trials.loc[2:3, "error"].str.startswith("DivergedError").all()
    assert trials.loc[4:5, "error"].str.contains("--trial-timeout").all()


@pytest.mark.slow
def test_a_study_killed_again_and_again_loses_nothing(finished, run, tmp_path, request):
    n_kills, folder = request.config.getoption("--kills"), tmp_path / "study"
    total, phases = len(lines(finished.folder)), set()
    for nth in range(1, n_kills + 1):
        # Each kill adds entries that take back and repeat; the last kill must still hit the study's last phases.
        repeated = len(lines(folder)) - len(set(lines(folder)))
        moment = int(0.9 * total * nth / n_kills) + repeated
        kill(run(), lambda moment=moment: len(lines(folder)) >= moment)
        assert "finished" not in described(folder)
        phases.add(len(described(folder)["phases_done"]))
    assert end(run()) == (0, [])
    assert len(phases) > 1
    assert_undisturbed(folder, finished, n_losses=n_kills)


def lines(folder):
    journal = folder / "journal.jsonl"
    return journal.read_bytes().splitlines() if journal.exists() else []
