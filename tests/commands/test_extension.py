"""A finished study that is extended, and one that has been tampered with."""

import shutil

import pytest
from tiny_study import TIMES, command, described, table

from search.records.schema import KEY_COLUMNS

pytestmark = pytest.mark.ray


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "study")


@pytest.fixture
def own_space(space):
    """The space's file of the studies, restored after the test."""
    text = space.read_text()
    yield space
    space.write_text(text)


@pytest.fixture
def extend(copied, cluster):
    """Resumes the copy with more trials and runs than it has."""

    def run(*more):
        extension = ("--trials", 7, "--until-settled", 5, "--max-concurrent", 1, "--address", cluster.address)
        return command("search.run", "--resume", copied, *extension, *more)

    return run


def assert_extended(folder):
    assert table(folder, "trials").groupby("level")["number"].apply(sorted).to_dict() == {
        "none": [0, 2, 4, 6],
        "1": [1, 3, 5, 7],
    }
    description = described(folder)
    folds = table(folder, "folds")
    assert not folds.duplicated(list(KEY_COLUMNS)).any()
    compared = folds[folds["phase"] == "compare"]
    runs = description["looked_at"][-1]
    assert sorted(compared["repeat"].unique()) == list(range(runs))
    assert (compared.query("setting == setting").groupby("level").size() == 2 * runs).all()
    assert folds[folds["phase"] == "test"]["level"].is_unique
    assert (description["plan"]["n_trials"], description["plan"]["most_runs"]) == (8, 5)
    assert description["beyond_plan"]
    assert "finished" in description


def test_more_trials_and_runs_extend_a_finished_study(finished, copied, extend):
    done = extend()
    assert done.returncode == 0, done.stderr
    assert_extended(copied)
    before, after = (
        table(folder, "trials").drop(columns=TIMES, errors="ignore") for folder in (finished.folder, copied)
    )
    assert after[after["number"] < 6].reset_index(drop=True).equals(before)
    refused = extend()
    assert refused.returncode == 2
    assert "finished" in refused.stderr


def test_a_changed_space_and_a_damaged_journal_are_refused_unless_forced(copied, own_space, extend):
    journal = copied / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    journal.write_bytes(b"".join([*lines[:middle], b"{damaged\n", *lines[middle + 1 :]]))
    damaged = extend()
    own_space.write_text(own_space.read_text().replace("0.0, 0.5", "0.0, 0.4"))
    changed = extend()
    assert f"journal.jsonl: line {middle + 1}" in damaged.stderr
    assert "space's file" in changed.stderr
    for refused in (damaged, changed):
        assert refused.returncode == 2
        assert len(refused.stderr.strip().splitlines()) == 1
    forced = extend("--force")
    assert forced.returncode == 0, forced.stderr
    assert_extended(copied)
    (reason,) = described(copied)["forced"]
    assert "space's file" in reason
