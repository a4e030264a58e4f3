"""A whole study, small enough for a test, by the real commands."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_study import command, described, table

from search.records.schema import KEY_COLUMNS, TABLES, field_of

pytestmark = pytest.mark.ray


def test_the_console_names_what_the_study_works_on_and_where_its_results_are(finished):
    for text in (
        *("Does it run?", "cells, 42 images", "6 trials, 3 for each of 2 levels (rounded up from 5)"),
        *("ray get-auth-token", "test set", "Comparison", "Transfer to others", str(finished.folder)),
    ):
        assert text in finished.printed
    assert finished.errors == ""
    assert "Traceback" not in finished.printed
    assert "\x1b" not in finished.printed


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_their_columns_and_unique_keys(finished, name):
    frame = table(finished.folder, name)
    assert len(frame) > 0
    assert [column for column in (*KEY_COLUMNS, *TABLES[name]) if column not in frame] == []
    assert not frame.duplicated(list({*KEY_COLUMNS, "epoch", "image"} & {*frame.columns})).any()
    for field in pq.read_schema(finished.folder / f"{name}.parquet"):
        assert field.metadata[b"description"]
        expected = field_of(field.name)
        assert expected is None or expected.type == field.type


def test_every_level_is_searched_alike(finished):
    trials = table(finished.folder, "trials")
    assert sorted(trials["number"]) == list(range(6))
    assert trials.groupby("level").size().to_dict() == {"none": 3, "1": 3}
    assert set(trials["state"]) <= {"COMPLETE", "PRUNED"}
    complete = trials[trials["state"] == "COMPLETE"]
    assert set(complete["level"]) == {"none", "1"}
    assert np.allclose(complete["value"], complete["balanced_accuracy"])
    assert (complete["folds_done"] == 2).all()
    assert trials.query("params_norm == 'group'")["params_dropout"].isna().all()


def test_folds_of_a_phase_partition_the_same_images(finished):
    predictions = table(finished.folder, "predictions")
    development = set(predictions.query("phase == 'compare'")["image"])
    locked = set(predictions.query("phase == 'test'")["image"])
    assert not development & locked
    assert len(development) + len(locked) == 42
    for _, rows in predictions.query("phase == 'compare'").groupby(["level", "settings"], dropna=False):
        assert sorted(rows["image"]) == sorted(development)
    for _, rows in predictions.query("phase == 'transfer'").groupby(["level", "way"]):
        assert rows["image"].nunique() == len(rows) == 24
    assert set(predictions.query("phase == 'search'")["image"]) <= development
    probabilities = predictions.filter(like="probability_")
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    names = probabilities.columns.str.removeprefix("probability_").to_numpy()
    assert (names[probabilities.to_numpy().argmax(axis=1)] == predictions["predicted"]).all()


def test_comparison_is_pooled_from_the_predictions(finished):
    comparison, predictions = table(finished.folder, "comparison"), table(finished.folder, "predictions")
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


def test_transfer_has_three_ways_of_three_networks(finished):
    transfer = table(finished.folder, "transfer")
    levels = {described(finished.folder)["winner"]["level"], "paper_plain", "paper_wbcsnet2"}
    assert set(zip(transfer["level"], transfer["way"], strict=True)) == {
        (level, way) for level in levels for way in ("scratch", "frozen", "fine_tuned")
    }


def test_study_json_describes_the_study(finished):
    description = described(finished.folder)
    assert description["phases_done"] == ["search", "confirm", "compare", "test", "transfer"]
    assert description["arguments"]["seed"] == 3
    assert len(description["data"]["cells"]["fingerprint"]) == 64
    assert description["environment"]["versions"]["torch"]
    spent = description["time"]
    parts = [spent[name] for name in ("training", "validation", "preparing", "waiting")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(spent["elapsed"], abs=0.01)
    epochs = table(finished.folder, "epochs")
    assert spent["training"] + spent["preparing"] == pytest.approx(epochs["train_s"].sum(), abs=0.01)


def test_one_epoch_of_one_trial_is_traced(finished):
    assert finished.printed.count("trace.json.gz") == 1
    trace = json.loads(gzip.decompress((finished.folder / "trace.json.gz").read_bytes()))
    assert any("conv" in event.get("name", "") for event in trace["traceEvents"])


def test_the_driver_never_imports_torch(finished):
    assert finished.printed.splitlines()[-1] == "torch False"


def test_show_report_and_predict_use_the_folder(finished, cells, tmp_path):
    page = (finished.folder / "report.html").read_text()
    assert "Does it run?" in page
    assert page.count("data:image/") >= 10  # figures
    shown = command("search.show", finished.folder)
    assert shown.returncode == 0, shown.stderr
    assert "Comparison" in shown.stdout
    predicted = command("search.predict", finished.folder, cells / "Basophil", "--output", tmp_path / "p.parquet")
    assert predicted.returncode == 0, predicted.stderr
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert len(frame) == 14
    assert set(frame.columns) >= {"image", "predicted", "probability_basophil"}


@pytest.mark.slow
def test_a_study_of_which_all_trials_fail_says_why(cells, space, cluster, tmp_path):
    hopeless = tmp_path / "hopeless.py"
    hopeless.write_text(
        space.read_text().replace('"lr", 0.01, 0.05', '"lr", 1e30, 1e31').replace("0.02}", "1e30}")
    )
    done = command(
        *("search.run", "--space", hopeless, "--data", cells, "--profile", "quick", "--folds", 2),
        *("--address", cluster.address, "--output", tmp_path, "--name", "failed"),
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "DivergedError" in done.stderr
    trials = table(tmp_path / "failed", "trials")
    assert len(trials) >= 3
    assert (trials["state"] == "FAIL").all()
    assert trials["error"].str.startswith("DivergedError").all()
