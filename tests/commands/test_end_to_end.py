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
        *(
            "Does it run?",
            "cells, 42 images",
            "3 settings at each of 2 levels, 6 trials",
            "--trials 5 is rounded up to 6",
        ),
        *("ray get-auth-token", "test set", "Use placement", "Transfer to others", str(finished.folder)),
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
    more = {"epoch", "image", "metric", "contrast"}
    assert not frame.duplicated(list({*KEY_COLUMNS, *more} & {*frame.columns})).any()
    for field in pq.read_schema(finished.folder / f"{name}.parquet"):
        assert field.metadata[b"description"]
        expected = field_of(field.name)
        assert expected is None or expected.type == field.type


def test_every_setting_is_tried_at_every_level(finished):
    trials = table(finished.folder, "trials")
    assert sorted(trials["number"]) == list(range(6))
    assert trials.groupby("level").size().to_dict() == {"none": 3, "1": 3}
    assert set(trials["state"]) <= {"COMPLETE", "PRUNED"}
    complete = trials[trials["state"] == "COMPLETE"]
    assert set(complete["level"]) == {"none", "1"}
    assert np.allclose(complete["value"], complete["balanced_accuracy"])
    assert (complete["folds_done"] == 2).all()
    assert trials.query("params_norm == 'group'")["params_dropout"].isna().all()
    assert (trials["setting"] == trials["number"] // 2).all()
    parameters = trials.filter(like="params_").astype(str)
    assert (parameters.groupby(trials["setting"]).nunique(dropna=False) == 1).all(axis=None)


def test_folds_of_a_phase_partition_the_same_images(finished):
    predictions = table(finished.folder, "predictions")
    development = set(predictions.query("phase == 'compare'")["image"])
    locked = set(predictions.query("phase == 'test'")["image"])
    assert not development & locked
    assert len(development) + len(locked) == 42
    for _, rows in predictions.query("phase == 'compare'").groupby(["level", "setting", "repeat"], dropna=False):
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
    assert set(comparison["level"]) == {"none", "1", "control", "paper_plain", "paper_wbcsnet2"}
    compared = predictions.query("phase == 'compare'")
    for _, row in comparison.iterrows():
        rows = compared[compared["level"] == row["level"]]
        if not np.isnan(row["setting"]):
            rows = rows[rows["setting"] == row["setting"]]
        assert row["accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
    assert comparison["estimate_shrunken"].notna().sum() == 2 * 2  # of every level at every setting
    latency_ms = comparison["latency_ms"].dropna()  # null where it does not repeat
    assert len(latency_ms)
    assert (latency_ms > 0).all()
    assert comparison[["p_holm", "p_mcnemar", "difference_reference"]].isna().all(axis=None)


def test_runs_differ_in_setting_folds_and_seeds_and_are_the_same_for_all_levels(finished):
    folds = table(finished.folder, "folds").query("phase == 'compare' and setting == setting")
    runs = folds.groupby("repeat")
    assert (runs["setting"].nunique() == 1).all()
    assert set(runs["setting"].first()) == set(table(finished.folder, "comparison")["setting"].dropna())
    assert (runs["level"].nunique() == 3).all()
    seeds = folds[folds["level"] != "control"].groupby(["repeat", "fold"])["seed"]
    assert (seeds.nunique() == 1).all()
    assert seeds.first().is_unique
    own = folds[folds["level"] == "control"]["seed"]
    assert own.is_unique
    assert not set(own) & set(seeds.first())


def test_every_contrast_has_one_p_and_the_recommendation_follows(finished):
    effects, description = table(finished.folder, "effects"), described(finished.folder)
    judged = effects[effects["p"].notna() & effects["low"].notna()]
    assert len(judged)
    assert ((judged["p"] < 0.05) == ((judged["low"] > 0) | (judged["high"] < 0))).all()
    pairs = effects.query("phase == 'compare' and metric == 'balanced_accuracy' and p == p and n_runs > 1")
    assert {"1 − none", "control − none"} <= set(pairs["contrast"])
    assert description["looked_at"] in ([2], [2, 4])
    assert description["recommendation"]["level"] in ("none", "1")
    assert set(table(finished.folder, "transfer")["level"]) >= {description["winner"]["level"]}


def test_transfer_has_three_ways_of_three_networks(finished):
    transfer = table(finished.folder, "transfer").query("phase == 'transfer'")
    levels = {described(finished.folder)["winner"]["level"], "paper_plain", "paper_wbcsnet2"}
    assert set(zip(transfer["level"], transfer["way"], strict=True)) == {
        (level, way) for level in levels for way in ("scratch", "frozen", "fine_tuned")
    }


def test_every_network_of_the_comparison_and_the_winner_score_the_target_untouched(finished):
    untouched = table(finished.folder, "folds").query("phase == 'untouched'")
    compared = table(finished.folder, "folds").query("phase == 'compare'")
    key = ["level", "setting", "repeat", "fold", "seed"]
    both = [part[key].sort_values(key, ignore_index=True) for part in (untouched.dropna(subset="fold"), compared)]
    pd.testing.assert_frame_equal(*both)
    rows = table(finished.folder, "transfer").query("phase == 'untouched'")
    assert set(rows.loc[rows["setting"].isna(), "level"]) == set(compared["level"])
    assert set(rows.loc[rows["setting"].notna(), "level"]) == {described(finished.folder)["winner"]["level"]}


def test_study_json_describes_the_study(finished):
    description = described(finished.folder)
    assert description["phases_done"] == ["search", "compare", "test", "transfer"]
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
    assert "Use placement" in shown.stdout
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
