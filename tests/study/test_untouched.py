"""Networks of the comparison and the winner score the target as they are, exactly once, whatever happens."""

import numpy as np
import pandas as pd
import pytest
from local_study import SPACE, draw, local_studies

from search.common.metrics import score
from search.records.schema import KEY_COLUMNS
from search.study.elsewhere import elsewhere

CLASSES = ("basophil", "eosinophil", "neutrophil")
ITS_CLASSES = (
    "basophil",
    "blast",
    "neutrophil",
)  # one is unknown to the source, and one of the source's is missing
KNOWN = ("basophil", "neutrophil")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    data = {"source": draw("own", CLASSES, 45, 0), "target": draw("others", ITS_CLASSES, 30, 1)}
    with local_studies(tmp_path_factory, **data, folds=2) as make:
        yield make


@pytest.fixture(scope="module")
def finished(make):
    return make().run()


@pytest.fixture
def again(make, finished, tmp_path):
    """The finished study in another process, as a copy that a test may change."""
    return make(copy_of=finished)


def test_every_network_scores_every_known_image_of_the_target_once(finished):
    predictions, folds = (finished.table(name, "untouched") for name in ("predictions", "folds"))
    assert not predictions.duplicated([*KEY_COLUMNS, "image"]).any()
    known = {name for name in finished.target.names if name.startswith(KNOWN)}
    compared = folds[folds["repeat"].notna()]
    trained = finished.table("folds", "compare")
    names = ["level", "setting", "repeat", "seed", "fold", "n_train"]
    both = [part[names].sort_values(names, ignore_index=True) for part in (compared, trained)]
    pd.testing.assert_frame_equal(*both)
    assert len(folds) == len(trained) + folds["repeat"].isna().sum()
    assert set(folds["data"]) == {"others"}
    for _, own in predictions.groupby([name for name in KEY_COLUMNS if name != "number"], dropna=False):
        assert set(own["image"]) == known
        assert set(own["label"]) == set(KNOWN)
        assert set(own["predicted"]) <= set(CLASSES)
        shares = own[[f"probability_{name}" for name in CLASSES]]
        assert shares.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (folds["n_val"] == len(known)).all()


def test_scores_run_over_the_classes_that_both_have(finished):
    folds, predictions = finished.table("folds", "untouched"), finished.table("predictions", "untouched")
    for _, row in folds.iterrows():
        own = predictions
        for name in ("level", "way", "repeat", "fold"):
            own = own[own[name].isna() if pd.isna(row[name]) else own[name] == row[name]]
        labels = np.array([CLASSES.index(name) for name in own["label"]])
        shares = own[[f"probability_{name}" for name in CLASSES]].to_numpy()
        assert row["balanced_accuracy"] == pytest.approx(score(labels, shares).balanced_accuracy)


def test_the_saved_network_is_scored_with_adapted_norms_if_it_has_any(finished):
    saved = finished.table("folds", "untouched").query("repeat.isna()")
    assert len(set(saved["level"])) == 1
    norm = {"none": "batch", "1": "group"}[saved["level"].iloc[0]]
    assert list(saved["way"]) == ["untouched", *(["untouched_adapted"] if norm == "batch" else [])]


def test_the_transfer_table_has_every_level_and_the_saved_network(finished):
    rows = finished.table("transfer", "untouched")
    assert not rows.duplicated([*KEY_COLUMNS]).any()
    levels = rows[rows["setting"].isna()]
    assert set(levels["level"]) == set(SPACE.levels)
    assert set(levels["n_networks"]) == {2}
    assert (rows["balanced_accuracy_low"] <= rows["balanced_accuracy_mean"]).all()
    assert (rows["balanced_accuracy_mean"] <= rows["balanced_accuracy_high"]).all()
    assert set(finished.table("transfer", "transfer")["way"]) == {"scratch", "frozen", "fine_tuned"}


@pytest.mark.parametrize("kill_at", [3, 5, 6, 7, 12, 15])
def test_a_study_that_is_killed_anywhere_resumes_to_the_same_rows(make, finished, kill_at):
    other = make().run(kill_at=kill_at).restart().run()
    for name in ("folds", "predictions", "transfer"):
        own, its = (
            one.table(name)
            .drop(columns=["train_s"], errors="ignore")
            .sort_values([*KEY_COLUMNS], ignore_index=True)
            for one in (finished, other)
        )
        order = [*KEY_COLUMNS, *(["image"] if "image" in own else [])]
        own, its = (part.sort_values(order, ignore_index=True) for part in (own, its))
        pd.testing.assert_frame_equal(own, its, rtol=1e-4)


def test_trainings_that_lack_their_score_are_not_trained_again_and_the_user_is_told(again):
    again.ledger.forget_all(phase="untouched")
    again.run()
    assert again.workers.trained == 0
    assert again.table("transfer", "untouched").empty
    said = again.output.getvalue()
    assert "4 of 4 trainings" in said
    assert "others" in said


def test_scores_are_forgotten_with_what_they_belong_to(again):
    before = again.table("folds", "untouched")
    trials = again.ledger.read("trials").to_pylist()
    again.ledger.replace("trials", [{**row, "params_lr": 0.02} for row in trials])
    again.run()
    after = again.table("folds", "untouched")
    assert not after.duplicated([*KEY_COLUMNS]).any()
    assert len(after) == len(again.table("folds", "compare")) + after["repeat"].isna().sum()
    assert not set(after["log_loss"]) & set(before["log_loss"])


def test_fewer_than_two_shared_classes_are_nothing_to_score(make):
    study = make(target=draw("others", ("basophil", "blast", "smudge"), 30, 1)).run()
    assert study.table("folds", "untouched").empty
    assert len(study.table("transfer", "transfer")) == 3


def test_further_laboratories_are_scored_by_the_comparison_alone(make):
    one, other = draw("one", CLASSES, 12, 3), draw("other", ITS_CLASSES, 15, 4)
    study = make(reports=(one, other)).run()
    folds, compared = study.table("folds", "shift"), study.table("folds", "compare")
    assert folds["data"].value_counts().to_dict() == {"one": len(compared), "other": len(compared)}
    assert folds["repeat"].notna().all()
    rows = study.table("shift")
    assert set(zip(rows["level"], rows["data"], strict=True)) == {
        (level, name) for level in SPACE.levels for name in ("one", "other")
    }
    assert set(rows["trained_on"]) == {"own"}
    assert set(rows["n_images"]) == {12, 10}
    untouched = study.table("folds", "untouched")
    assert len(untouched) == len(compared) + untouched["repeat"].isna().sum()


def test_classes_are_matched_by_name():
    (where,) = elsewhere(draw("own", CLASSES, 9, 0), draw("others", ITS_CLASSES, 9, 0), adapt=True)
    assert (where.data, where.classes, where.adapt) == ("others", (0, -1, 2), True)
