"""A study that goes on by the real command: extended, refused for what has changed, and forced."""

import json
import shutil

import pytest
from tiny_study import TIMES, command, table

from search.records.schema import KEY_COLUMNS


@pytest.fixture(scope="module")
def finished(cells, space, tmp_path_factory):
    """A finished study of a space file of its own."""
    own = tmp_path_factory.mktemp("own") / "tiny.py"
    shutil.copy(space, own)
    output = tmp_path_factory.mktemp("finished")
    done = command(
        *("search.run", "--space", own, "--data", cells, "--profile", "quick", "--trials", 4, "--folds", 2),
        *("--max-concurrent", 1, "--output", output, "--name", "study"),
    )
    assert done.returncode == 0, done.stderr
    return output / "study", own


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the study, and its space's file, which is put back after the test."""
    folder, own = finished
    shutil.copytree(folder, tmp_path / "study")
    text = own.read_text()
    yield tmp_path / "study", own
    own.write_text(text)


def described(folder):
    return json.loads((folder / "study.json").read_text())


@pytest.mark.ray
def test_more_trials_and_repeats_extend_a_finished_study(copied):
    folder, _ = copied
    before = {name: table(folder, name) for name in ("trials", "folds", "epochs")}
    done = command("search.run", "--resume", folder, "--trials", 7, "--repeats", 2, "--max-concurrent", 1)
    assert done.returncode == 0, done.stderr
    trials = table(folder, "trials")
    assert sorted(trials["number"]) == list(range(8))
    assert trials.groupby("level").size().to_dict() == {"none": 4, "1": 4}
    kept = trials[trials["number"] < 4].reset_index(drop=True)
    assert kept.drop(columns=TIMES, errors="ignore").equals(before["trials"].drop(columns=TIMES, errors="ignore"))
    folds = table(folder, "folds")
    compared = folds[folds["phase"] == "compare"]
    assert sorted(compared["repeat"].unique()) == [0, 1]
    assert (compared.groupby(["level", "settings"], dropna=False).size() == 2 * 2).all()
    assert not folds.duplicated(list(KEY_COLUMNS)).any()
    assert (folds["phase"] == "test").sum() == 1
    description = described(folder)
    assert description["plan"]["n_trials"] == 8
    assert description["plan"]["repeats"] == 2
    assert "finished" in description
    again = command("search.run", "--resume", folder, "--trials", 8)
    assert again.returncode == 2
    assert "finished" in again.stderr


@pytest.mark.ray
def test_another_space_is_refused_and_can_be_forced(copied):
    folder, own = copied
    own.write_text(own.read_text().replace("0.0, 0.5", "0.0, 0.4"))
    refused = command("search.run", "--resume", folder, "--trials", 6)
    assert refused.returncode == 2
    assert "the space's file has changed" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    forced = command("search.run", "--resume", folder, "--trials", 6, "--force", "--max-concurrent", 1)
    assert forced.returncode == 0, forced.stderr
    assert sorted(table(folder, "trials")["number"]) == list(range(6))
    assert described(folder)["forced"] == ["the space's file has changed"]


@pytest.mark.ray
def test_a_damaged_journal_is_named_and_its_sound_part_can_be_gone_on_from(copied):
    folder, _ = copied
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    journal.write_bytes(b"".join([*lines[:middle], b"{damaged\n", *lines[middle + 1 :]]))
    refused = command("search.run", "--resume", folder, "--trials", 6)
    assert refused.returncode == 2
    assert f"journal.jsonl: line {middle + 1} is damaged" in refused.stderr
    forced = command("search.run", "--resume", folder, "--trials", 6, "--force", "--max-concurrent", 1)
    assert forced.returncode == 0, forced.stderr
    assert sorted(table(folder, "trials")["number"]) == list(range(6))
    folds = table(folder, "folds")
    assert not folds.duplicated(list(KEY_COLUMNS)).any()
    assert (folds[folds["phase"] == "compare"].groupby(["level", "settings"], dropna=False).size() == 2).all()
