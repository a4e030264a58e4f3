"""The paper's figures beside a study's."""

import math
from dataclasses import replace

import numpy as np
import pytest
from written_study import write_study

from search.analysis.paper import (
    N_DATASET1,
    N_DATASET2,
    NOT_HERE,
    PLAIN,
    TRANSFERRED,
    WBCSNET2,
    beside_paper,
    share_difference,
    worth,
)
from search.analysis.statistics import wilson
from search.records.results import read_results, winner


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read_results(write_study(tmp_path_factory.mktemp("paper") / "study", n_trials=8))


def beside(results):
    return beside_paper(results, winner(results))


def row_of(results, quantity):
    return next(row for row in beside(results).rows if row.quantity == quantity)


def test_newcombes_example():
    """His table II, example a: 56 of 70 against 48 of 80."""
    assert share_difference(56 / 70, 70, 48 / 80, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_of_two_shares_holds_their_difference_and_turns_with_them(seed):
    rng = np.random.default_rng(seed)
    n, m = (int(number) for number in rng.integers(5, 300, 2))
    p, q = rng.integers(0, n + 1) / n, rng.integers(0, m + 1) / m
    low, high = share_difference(p, n, q, m)
    assert -1 <= low <= p - q <= high <= 1
    assert share_difference(q, m, p, n) == pytest.approx((-high, -low))
    closer = share_difference(p, 4 * n, q, 4 * m)
    assert closer[1] - closer[0] < high - low
    # Neither share alone is less sure than their difference.
    assert (
        high - low >= max(end - start for start, end in (wilson(round(p * n), n), wilson(round(q * m), m))) - 1e-9
    )


def test_the_papers_gains_are_within_luck():
    low, high = share_difference(WBCSNET2, N_DATASET1, PLAIN, N_DATASET1)
    assert low < 0 < high
    first, second, _ = worth()
    assert "0.7 points on 2,172 cells is 15 cells" in first
    assert f"−{-100 * low:.1f} to +{100 * high:.1f} points, which holds zero" in first
    assert "2.4 points after transfer is 6 of 254 cells" in second


def test_what_the_paper_says_of_its_transfer_is_no_share_of_its_cells():
    assert all(round(100 * n / N_DATASET2, 2) != round(100 * TRANSFERRED, 2) for n in range(N_DATASET2 + 1))


def test_without_the_papers_networks_there_is_nothing_to_stand_beside(results):
    own = results.comparison[results.comparison["settings"].notna()]
    assert beside_paper(replace(results, comparison=own), winner(results)) is None
    assert beside_paper(replace(results, comparison=own.iloc[:0]), winner(results)) is None


def test_accuracies_are_those_of_the_tables(results):
    comparison = results.comparison[results.comparison["settings"] != "equal"].set_index("level")
    net2, own = (comparison.loc[level] for level in ("paper_wbcsnet2", winner(results)))
    row = row_of(results, "accuracy of WBCsNet-2")
    assert row.same.startswith(f"{100 * net2['accuracy']:.1f} % (")
    assert row.winner.startswith(f"{100 * own['accuracy']:.1f} % (")
    balanced = row_of(results, "sensitivity of WBCsNet-2, mean over classes")
    assert balanced.winner == f"{100 * own['sensitivity']:.1f} %"
    transfer = results.transfer.query("way == 'fine_tuned'").set_index("level")
    fine_tuned = row_of(results, "accuracy on the second data set, fine-tuned")
    assert fine_tuned.same.startswith(f"{100 * transfer.loc['paper_wbcsnet2', 'accuracy']:.1f} % (")


def test_gains_are_paired_over_the_same_folds(results):
    folds = results.folds[results.folds["settings"] != "equal"]
    for quantity, rows in (
        ("accuracy over the plain network", folds.query("phase == 'compare'")),
        ("the same over the plain network", folds.query("phase == 'transfer' and way == 'fine_tuned'")),
    ):
        mean = rows.groupby("level")["accuracy"].mean()
        for level, text in (
            ("paper_wbcsnet2", row_of(results, quantity).same),
            (winner(results), row_of(results, quantity).winner),
        ):
            points = 100 * (mean[level] - mean["paper_plain"])
            assert text.startswith(f"{points:+.1f} points (".replace("-", "−"))


def test_cells_recognised_are_counted_once_whatever_the_case_of_their_class(results):
    predictions = results.predictions
    own = predictions.query("phase == 'compare' and level == 'paper_plain' and label == 'neutrophil'")
    right = int((own["predicted"] == "neutrophil").sum())
    wanted = f"{right:,} of {own['image'].nunique():,}"
    assert row_of(results, "neutrophils recognised by the plain network").same == wanted
    named = predictions.replace({"neutrophil": "Neutrophil"})
    again = replace(results, predictions=named)
    assert row_of(again, "neutrophils recognised by the plain network").same == wanted
    others = replace(results, predictions=predictions.replace({"neutrophil": "segmented"}))
    assert row_of(others, "neutrophils recognised by the plain network").same == NOT_HERE


def test_what_a_study_has_not_got_to_is_left_open(results):
    early = replace(
        results,
        transfer=results.transfer.iloc[:0],
        folds=results.folds.iloc[:0],
        predictions=results.predictions.iloc[:0],
    )
    rows = {row.quantity: row for row in beside(early).rows}
    assert rows["accuracy of WBCsNet-2"].same != NOT_HERE
    for quantity in (
        "accuracy over the plain network",
        "basophils recognised by WBCsNet-2",
        "accuracy on the second data set, fine-tuned",
        "the same over the plain network",
    ):
        assert (rows[quantity].same, rows[quantity].winner) == (NOT_HERE, NOT_HERE)


def test_what_differs_is_of_this_study(results):
    differs = {what: here for what, _, here in beside(results).differs}
    own = results.comparison.query("level == @winner(@results) and settings == 'tuned'").iloc[0]
    assert differs["images"] == "cells: 400"
    assert differs["images to transfer to"] == "others: 133"
    assert differs["side of an image as trained"] == f"{own['params_input_px']:g} px"
    assert differs["width"] == "0.125 times that"
    assert differs["settings"] == "each level's best of 8 trials in all"
    assert differs["framework"].startswith("PyTorch ")
    alone = {**results.description, "data": {"cells": results.description["data"]["cells"]}, "environment": {}}
    differs = {what: here for what, _, here in beside(replace(results, description=alone)).differs}
    assert differs["images to transfer to"] == "none"
    assert differs["framework"] == "PyTorch"


def test_a_space_that_asks_for_less_leaves_what_its_profile_has(results):
    names = [name for name in results.comparison.columns if name.startswith("params_")]
    bare = replace(results, comparison=results.comparison.drop(columns=names))
    differs = {what: here for what, _, here in beside(bare).differs}
    assert differs["side of an image as trained"] == "24 or 28 px"
    assert differs["class weights"] == "as the space says"


def test_no_figure_is_no_number(results):
    for row in beside(results).rows:
        for text in (row.interval, row.same, row.winner):
            assert "nan" not in text
            assert text
    assert math.isfinite(sum(share_difference(0.0, 5, 0.0, 5)))
