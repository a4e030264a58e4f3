"""The real commands, from a shell's point of view, on a study small enough for a test."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from tiny_study import assert_same_tables, command, start, table

from search.records.schema import KEY_COLUMNS, TABLES, field_of

RUN = """
import sys
from search.common.commandline import exit_code
from search.run import app

code = exit_code(app, sys.argv[1:])
print("torch", "torch" in sys.modules)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def arguments(cells, others, space):
    return (
        *("search.run", "--space", space, "--data", cells, "--transfer-data", others, "--profile", "quick"),
        *("--trials", 5, "--folds", 3, "--seed", 3, "--max-concurrent", 1),
        *("--finalists", 2, "--objectives", "balanced_accuracy,macs"),
    )


@pytest.fixture(scope="module")
def study(arguments, tmp_path_factory):
    """A whole study; (its folder, what the command printed)."""
    output = tmp_path_factory.mktemp("output")
    done = command(*arguments, "--profile-trace", "--output", output, "--name", "first")
    assert done.returncode == 0, done.stderr
    return output / "first", done


@pytest.mark.ray
def test_console_says_what_was_done(study):
    folder, done = study
    assert done.stderr == ""
    for text in ("Does it run?", "cells, 42 images", "6 trials, 3 for each of 2 levels (rounded up from 5)"):
        assert text in done.stdout
    for text in (
        "at most about",
        "dashboard",
        "ray get-auth-token",
        "test set",
        "Comparison",
        "Transfer to others",
    ):
        assert text in done.stdout
    assert str(folder) in done.stdout
    assert "Traceback" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.ray
@pytest.mark.parametrize("name", TABLES)
def test_tables_have_their_columns_and_unique_keys(study, name):
    folder, _ = study
    frame = table(folder, name)
    assert len(frame) > 0
    assert [column for column in (*KEY_COLUMNS, *TABLES[name]) if column not in frame] == []
    key = [*KEY_COLUMNS, *[column for column in ("epoch", "image") if column in frame]]
    assert not frame.duplicated(key).any()
    import pyarrow.parquet as pq

    schema = pq.read_schema(folder / f"{name}.parquet")
    for field in schema:
        assert field.metadata[b"description"]
        expected = field_of(field.name)
        assert expected is None or expected.type == field.type


@pytest.mark.ray
def test_every_level_is_searched_alike(study):
    trials = table(study[0], "trials")
    assert sorted(trials["number"]) == list(range(6))
    assert trials.groupby("level").size().to_dict() == {"none": 3, "1": 3}
    assert set(trials["state"]) <= {"COMPLETE", "PRUNED"}
    assert (trials.groupby("level")["state"].apply(lambda states: (states == "COMPLETE").sum()) >= 1).all()
    complete = trials[trials["state"] == "COMPLETE"]
    assert np.allclose(complete["value"], complete["balanced_accuracy"])
    assert (complete["folds_done"] == 2).all()
    assert trials.query("params_norm == 'group'")["params_dropout"].isna().all()


@pytest.mark.ray
def test_folds_of_a_phase_partition_the_same_images(study):
    predictions = table(study[0], "predictions")
    development = set(predictions.query("phase == 'compare'")["image"])
    locked = set(predictions.query("phase == 'test'")["image"])
    assert not development & locked
    assert len(development) + len(locked) == 42
    for _, rows in predictions.query("phase == 'compare'").groupby(["level", "settings"], dropna=False):
        assert sorted(rows["image"]) == sorted(development)
    for _, rows in predictions.query("phase == 'transfer'").groupby(["level", "way"]):
        assert rows["image"].nunique() == len(rows) == 24
    searched = predictions.query("phase == 'search'")
    assert set(searched["image"]) <= development
    probabilities = predictions.filter(like="probability_")
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    names = probabilities.columns.str.removeprefix("probability_").to_numpy()
    assert (names[probabilities.to_numpy().argmax(axis=1)] == predictions["predicted"]).all()


@pytest.mark.ray
def test_comparison_is_pooled_from_the_predictions(study):
    folder, _ = study
    comparison, predictions = table(folder, "comparison"), table(folder, "predictions")
    assert set(comparison["level"]) == {"none", "1", "paper_plain", "paper_wbcsnet2"}
    assert comparison.query("settings == 'equal'")["level"].tolist() == ["none", "1"]
    tuned = comparison.query("settings == 'tuned'").set_index("level")
    for level in ("none", "1"):
        rows = predictions.query(f"phase == 'compare' and level == '{level}' and settings == 'tuned'")
        assert tuned.loc[level, "accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
    assert tuned.loc["none", "difference_reference"] == 0
    assert np.isnan(tuned.loc["none", "p_holm"])
    assert 0 <= tuned.loc["1", "p_holm"] <= 1
    shares = tuned.loc["1", ["p_better", "p_equal", "p_worse"]].astype(float)
    assert shares.sum() == pytest.approx(1)
    assert (comparison["latency_ms"] > 0).all()


@pytest.mark.ray
def test_transfer_has_three_ways_of_three_networks(study):
    transfer = table(study[0], "transfer")
    description = json.loads((study[0] / "study.json").read_text())
    levels = {description["winner"]["level"], "paper_plain", "paper_wbcsnet2"}
    assert set(zip(transfer["level"], transfer["way"], strict=True)) == {
        (level, way) for level in levels for way in ("scratch", "frozen", "fine_tuned")
    }


@pytest.mark.ray
def test_study_json_says_what_it_was(study):
    description = json.loads((study[0] / "study.json").read_text())
    assert description["phases_done"] == ["search", "confirm", "compare", "test", "transfer"]
    assert description["arguments"]["seed"] == 3
    assert len(description["data"]["cells"]["fingerprint"]) == 64
    assert description["environment"]["versions"]["torch"]


@pytest.mark.ray
def test_study_says_where_its_time_went(study):
    folder, done = study
    assert "on 1 slot: training " in done.stdout
    time = json.loads((folder / "study.json").read_text())["time"]
    parts = [time[name] for name in ("training", "validation", "preparing", "waiting")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(time["elapsed"], abs=0.01)
    epochs = table(folder, "epochs")
    assert time["training"] + time["preparing"] == pytest.approx(epochs["train_s"].sum(), abs=0.01)


@pytest.mark.ray
def test_one_epoch_of_one_trial_is_traced(study):
    folder, done = study
    assert done.stdout.count("an epoch of trial 0 is traced in trace.json.gz") == 1
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    assert any("conv" in event.get("name", "") for event in trace["traceEvents"])


@pytest.mark.ray
def test_show_and_predict_use_the_folder(study, cells, tmp_path):
    folder, _ = study
    shown = command("search.show", folder)
    assert shown.returncode == 0, shown.stderr
    assert "Comparison" in shown.stdout
    predicted = command("search.predict", folder, cells / "Basophil", "--output", tmp_path / "out.parquet")
    assert predicted.returncode == 0, predicted.stderr
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert len(frame) == 14
    assert set(frame.columns) >= {"image", "predicted", "probability_basophil"}


@pytest.fixture(scope="module")
def second(arguments, tmp_path_factory):
    """The same study once more; (its folder, whether torch was imported where it was started)."""
    output = tmp_path_factory.mktemp("output")
    given = [sys.executable, "-c", RUN, *map(str, arguments[1:]), "--output", output, "--name", "second"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return output / "second", done.stdout.splitlines()[-1]


@pytest.mark.ray
def test_same_seed_gives_the_same_study(study, second):
    assert_same_tables(study[0], second[0], TABLES)


@pytest.mark.ray
def test_a_whole_study_runs_without_torch_in_the_driver(second):
    assert second[1] == "torch False"


@pytest.mark.ray
def test_interrupted_study_has_readable_tables_and_goes_on(study, arguments, tmp_path):
    folder = tmp_path / "stopped"
    run = start(*arguments, "--output", tmp_path, "--name", "stopped")
    deadline = time.monotonic() + 120
    while not ((folder / "journal.jsonl").exists() and (folder / "journal.jsonl").stat().st_size > 20_000):
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.1)
    os.kill(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert len(table(folder, "epochs")) > 0
    spent = json.loads((folder / "study.json").read_text())["time"]
    resumed = command("search.run", "--resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((folder / "study.json").read_text())["time"]["elapsed"] > spent["elapsed"] > 0
    assert not list((folder / "checkpoints").glob("*"))
    assert sorted(table(folder, "trials")["number"]) == list(range(6))
    keyed = ["phase", "level", "settings", "way", "repeat", "fold"]
    for name in ("comparison", "transfer"):
        unbroken, mended = table(study[0], name), table(folder, name)
        assert mended[keyed].equals(unbroken[keyed])
    refused = command("search.run", "--resume", folder)
    assert refused.returncode == 2
    assert "finished" in refused.stderr


@pytest.mark.ray
def test_study_whose_trials_all_fail_says_why(cells, space, tmp_path):
    hopeless = tmp_path / "hopeless.py"
    diverging = space.read_text().replace('"lr", 0.01, 0.05', '"lr", 1e30, 1e31').replace("0.02}", "1e30}")
    hopeless.write_text(diverging)
    output = ("--output", tmp_path, "--name", "failed")
    done = command("search.run", "--space", hopeless, "--data", cells, "--profile", "quick", "--folds", 2, *output)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "DivergedError" in done.stderr
    trials = table(tmp_path / "failed", "trials")
    assert len(trials) >= 3
    assert (trials["state"] == "FAIL").all()
    assert trials["error"].str.startswith("DivergedError: the ").all()
