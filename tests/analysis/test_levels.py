"""The analysis of a comparison as a whole, on made-up predictions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from search.analysis.gathering import gather
from search.analysis.levels import Question, analyse, analyse_transfer
from search.analysis.outcome import Outcome

LEVELS = ("none", "1", "2", "1+2")
CLASSES = ("a", "b")
MACS = {(level, setting): 10 * (nth + 1) for nth, level in enumerate(LEVELS) for setting in (0, 1)}
QUESTION = Question(
    levels=LEVELS,
    reference="none",
    effects={"one": ("1", "1+2"), "two": ("2", "1+2")},
    metric="accuracy",
    margin=0.01,
    classes=CLASSES,
    looks=(2,),
)


def make_predictions(ability, *, n_runs=2, n_images=300, levels=LEVELS, seed=0):
    """Predictions of levels whose share of right ones follows from their ability (level -> shift)."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(n_images) < n_images // 4, "a", "b")
    hard = rng.normal(1.5, 1.0, n_images)
    parts = []
    for repeat in range(n_runs):
        folds = rng.permutation(n_images) % 10
        for level in levels:
            share = 1 / (1 + np.exp(-hard - ability.get(level, 0.0) - rng.normal(0, 0.5, n_images)))
            parts.append(
                pd.DataFrame({
                    "level": level, "setting": float(repeat % 2), "repeat": repeat, "fold": folds,
                    "image": [f"{i:04d}" for i in range(n_images)], "label": labels,
                    "probability_a": np.where(labels == "a", share, 1 - share),
                    "probability_b": np.where(labels == "a", 1 - share, share),
                })
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def main_rows(analysis):
    return {row["contrast"]: row for row in analysis.rows if row["metric"] == "accuracy" and "low" in row}


def test_order_of_rows_does_not_matter_and_neither_do_other_levels():
    predictions = make_predictions({"2": 1.0})
    found = analyse(predictions, QUESTION, MACS)
    mixed = predictions.sample(frac=1, random_state=0)
    other = predictions[predictions["level"] == "1"].assign(level="no level of this study")
    again = analyse(pd.concat([mixed, other]), QUESTION, MACS)
    assert again == found


def test_what_is_better_everywhere_is_recommended_and_what_lacks_it_is_beaten():
    found = analyse(make_predictions({"2": 1.2, "1+2": 1.2}), QUESTION, MACS)
    rows = main_rows(found)
    assert rows["two"]["outcome"] == rows["2 − none"]["outcome"] == Outcome.BETTER
    assert rows["one"]["outcome"] in (Outcome.OPEN, Outcome.SAME)
    assert found.best[0] in ("2", "1+2")
    advice = found.recommendation
    assert set(advice.beaten) == {"none", "1"}
    assert advice.level == "2"  # cheaper than 1+2, which nothing shows to be better
    assert 0 < advice.loses_at_most < 0.1
    assert advice.loses_to == "1+2"


def test_what_is_worse_is_not_recommended_and_the_reference_can_be():
    found = analyse(make_predictions({level: -3.0 for level in LEVELS[1:]}), QUESTION, MACS)
    assert found.recommendation.level == "none"
    assert set(found.recommendation.beaten) == set(LEVELS[1:])
    assert found.recommendation.loses_at_most is None
    assert found.best[0] == "none"


def test_without_a_difference_the_cheapest_is_recommended_and_a_next_step_named():
    found = analyse(make_predictions({}), QUESTION, MACS)
    assert found.recommendation.rivals == list(LEVELS)
    assert found.recommendation.level == "none"
    assert not found.settled
    assert {step.do for step in found.recommendation.next} <= {"runs", "images", "metric"}
    assert found.recommendation.next
    for step in found.recommendation.next:
        assert step.number is None or step.number > (2 if step.do == "runs" else 300)
    dear = {cell: 1 / cost for cell, cost in MACS.items()}
    assert analyse(make_predictions({}), QUESTION, dear).recommendation.level == "1+2"


def test_levels_that_are_the_same_network_settle_everything_as_the_same():
    predictions = make_predictions({}, levels=("none",))
    names = pd.concat([predictions.assign(level=level) for level in LEVELS])
    found = analyse(names, QUESTION, MACS)
    assert {row["outcome"] for row in main_rows(found).values()} == {Outcome.SAME}
    assert found.settled
    assert found.recommendation.loses_at_most == 0


def test_a_level_that_lacks_a_fold_is_missing_and_hinders_no_other():
    predictions = make_predictions({})
    gone = (predictions["level"] == "1") & (predictions["repeat"] == 1) & (predictions["fold"] == 3)
    found = analyse(predictions[~gone], QUESTION, MACS)
    assert found.missing == ["1"]
    assert {row["contrast"] for row in found.rows if row["kind"] == "pair"} == {"2 − none", "1+2 − none"}
    assert analyse(predictions.iloc[:0], QUESTION, MACS) is None


@pytest.mark.parametrize("few", ["folds", "images", "groups"])
def test_too_few_data_are_not_judged(few):
    predictions = make_predictions({"2": 3.0}, n_runs=1)
    question = QUESTION
    if few == "folds":
        predictions["fold"] %= 4
    elif few == "images":
        rare = predictions["image"].isin([f"{i:04d}" for i in range(4, 75)])
        predictions = predictions[~rare]
    else:
        question = replace(question, groups={image: image[-1:] > "4" for image in predictions["image"]})
    found = analyse(predictions, question, MACS)
    assert not any("p" in row for row in found.rows)
    assert not found.settled
    assert found.recommendation.loses_at_most is None


def test_more_looks_and_groups_widen_the_intervals():
    predictions = make_predictions({})
    alone = main_rows(analyse(predictions, QUESTION, MACS))
    looked = main_rows(analyse(predictions, replace(QUESTION, looks=(2, 4, 6)), MACS))
    for name, row in alone.items():
        assert looked[name]["high"] >= row["high"]
        assert looked[name]["estimate"] == row["estimate"]
    beyond = analyse(predictions, replace(QUESTION, looks=(1,)), MACS)  # looked at more often than planned
    assert {row["looks"] for row in main_rows(beyond).values()} == {2}


def test_a_control_belongs_to_the_family_and_to_no_effect():
    predictions = make_predictions({}, levels=(*LEVELS, "control"))
    found = analyse(predictions, QUESTION, MACS)
    assert "control − none" in main_rows(found)
    assert "control" not in {level for level, _ in found.estimates}
    without = analyse(predictions[predictions["level"] != "control"], QUESTION, MACS)
    assert main_rows(found)["one"]["estimate"] == main_rows(without)["one"]["estimate"]


def test_ways_of_a_transfer_are_compared_with_scratch_and_networks_with_the_plain_one():
    ways = make_predictions(
        {"fine_tuned": 3.0, "frozen": -1.0}, levels=("scratch", "frozen", "fine_tuned"), n_runs=1
    )
    networks = [ways.assign(way=ways["level"], level=level) for level in ("2", "paper_plain")]
    rows = analyse_transfer(pd.concat(networks), QUESTION)
    own = {row["contrast"]: row for row in rows if row["level"] == "2" and row["metric"] == "accuracy"}
    assert set(own) == {"frozen − scratch", "fine_tuned − scratch", "2 − paper_plain"}
    assert own["fine_tuned − scratch"]["outcome"] == Outcome.BETTER
    assert own["2 − paper_plain"]["estimate"] == 0


def test_gathered_arrays_hold_every_prediction_where_it_belongs():
    predictions = make_predictions({"2": 1.0})
    gathered = gather(predictions.sample(frac=1, random_state=1), LEVELS, CLASSES)
    assert gathered.probabilities.shape == (2, 4, 300, 2)
    for (setting, repeat), of_run in zip(gathered.runs, gathered.probabilities, strict=True):
        own = predictions[(predictions["repeat"] == repeat) & (predictions["setting"] == setting)]
        for level, shares in zip(gathered.levels, of_run, strict=True):
            rows = own[own["level"] == level].sort_values("image")
            assert (shares[:, 0] == rows["probability_a"].to_numpy()).all()
    assert gather(predictions, ("no such",), CLASSES) is None
