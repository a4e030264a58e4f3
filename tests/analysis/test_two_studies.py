from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_studies import LEVELS, METRIC, PAPER, describe, make_results, with_tables

from search.analysis.pooling import pooled_metrics
from search.analysis.two_studies import (
    compared_levels,
    differences_in_making,
    same_test_set,
    searched_levels,
    shared_repeats,
)
from search.records.description import parse_description

UNPAIRED = ({"seed": 1}, {"n_folds": 5}, {"images": 80}, {"fingerprint": "other"})


def described(content=None, **options):
    return parse_description(describe(**options) if content is None else content, Path("study.json"))


def without(results, table, **values):
    """The study without the rows of a table that have all these values."""
    rows = results.tables[table]
    gone = np.logical_and.reduce([rows[name] == value for name, value in values.items()])
    return with_tables(results, **{table: rows[~gone]})


def empty(results, *tables):
    return with_tables(results, **{table: results.tables[table].iloc[:0] for table in tables})


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_study_next_to_itself_differs_in_nothing(repeats):
    one = make_results(repeats=repeats)
    assert not any(differences_in_making(one.description, one.description).values())
    assert shared_repeats(one, one) == list(range(2 * repeats))
    assert same_test_set(one, one)
    rows = compared_levels(one, one, METRIC)
    assert [row.level for row in rows] == [*LEVELS, *PAPER]
    for row in rows:
        assert (row.a, row.a_over_folds) == (row.b, row.b_over_folds)
        found = row.difference
        assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert all(row.a == row.b for row in searched_levels(one, one, METRIC))


def test_swapped_studies_swap_their_columns_and_flip_the_signs():
    a, b = make_results(network=1), make_results(network=2)
    rows, swapped_rows = compared_levels(a, b, METRIC), compared_levels(b, a, METRIC)
    for row, swapped in zip(rows, swapped_rows, strict=True):
        assert (row.level, row.a, row.b) == (swapped.level, swapped.b, swapped.a)
        assert (row.a_over_folds, row.b_over_folds) == (swapped.b_over_folds, swapped.a_over_folds)
        own, other = row.difference, swapped.difference
        assert (own.mean, own.low, own.high) == pytest.approx((-other.mean, -other.high, -other.low))
        assert own.p == pytest.approx(other.p, abs=0.02)  # counted in random draws


@pytest.mark.parametrize("options", UNPAIRED)
def test_different_images_or_folds_do_not_pair(options):
    a, b = make_results(), make_results(network=1, **options)
    assert shared_repeats(a, b) == shared_repeats(b, a) == []
    for row in compared_levels(a, b, METRIC):
        assert row.difference is None
        assert row.a_over_folds.low < row.a_over_folds.mean < row.a_over_folds.high


@pytest.mark.parametrize("repeats", [(1, 1), (1, 2), (3, 2)])
def test_differences_are_means_over_the_runs_that_both_have(repeats):
    # Rows of the test have no fold, so that folds of the tested study are floats.
    a, b = (make_results(network=nth, repeats=n, tested=nth == 0) for nth, n in enumerate(repeats))
    shared = list(range(2 * min(repeats)))
    assert shared_repeats(a, b) == shared
    for row in compared_levels(a, b, METRIC):
        means = []
        for study in (a, b):
            rows = study.compared("predictions", row.level)
            taken = [0] if row.level in PAPER else shared  # the paper's networks take part in the first run alone
            of_run = [rows[rows["repeat"] == repeat] for repeat in taken]
            means.append(np.mean([pooled_metrics(part, ("a", "b")).balanced_accuracy for part in of_run]))
        assert row.difference.mean == pytest.approx(means[1] - means[0])
        assert row.difference.low <= row.difference.mean <= row.difference.high
        assert (row.difference.p < 0.05) == (row.difference.low > 0 or row.difference.high < 0)


def test_levels_of_one_study_are_named_and_not_tested():
    a, b = make_results(), make_results(levels=("new", "2", "none"), network=1)
    rows = {row.level: row for row in compared_levels(a, b, METRIC)}
    assert list(rows) == ["none", "1", "2", "new", *PAPER]  # in the order of the spaces
    assert [level for level in ("none", "1", "2", "new") if rows[level].difference is None] == ["1", "new"]
    assert rows["1"].b is rows["1"].b_over_folds is rows["new"].a is rows["new"].a_over_folds is None
    assert [row.level for row in searched_levels(a, b, METRIC)] == ["none", "1", "2", "new"]


def test_a_level_that_lacks_a_fold_is_not_tested_and_hinders_no_other():
    a, b = make_results(), without(make_results(network=1), "predictions", level="1", fold=3)
    rows = [row for row in compared_levels(a, b, METRIC) if row.level in LEVELS]
    assert [row.level for row in rows if row.difference is None] == ["1"]


def test_a_repeat_under_way_does_not_count():
    whole = make_results(repeats=2)
    tables = {name: whole.tables[name] for name in ("folds", "predictions")}
    begun = with_tables(
        whole, **{n: rows[(rows["repeat"] == 0) | (rows["fold"] == 0)] for n, rows in tables.items()}
    )
    assert shared_repeats(begun, begun) == [0]


def test_order_of_rows_does_not_matter():
    a, b = make_results(network=1), make_results(network=2)
    mixed = {
        name: b.tables[name].sample(frac=1, random_state=0) for name in ("folds", "predictions", "comparison")
    }
    assert compared_levels(a, with_tables(b, **mixed), METRIC) == compared_levels(a, b, METRIC)


def test_an_interrupted_study_gives_what_it_has():
    whole = make_results()
    begun = empty(make_results(tested=False), "comparison", "folds", "predictions", "transfer")
    assert compared_levels(begun, begun, METRIC) == []
    assert shared_repeats(whole, begun) == []
    assert not same_test_set(whole, begun)
    assert all(row.a == row.b for row in searched_levels(whole, begun, METRIC))
    assert all(row.b is None for row in searched_levels(whole, empty(begun, "trials"), METRIC))


def test_the_best_trial_of_a_level_is_a_complete_one_and_the_confirmed_before_others():
    trials = make_results().trials.set_index("number")
    trials.loc[5, "state"] = "PRUNED"  # the best of level 2, after which its first is
    trials.loc[1, "confirmed_value"] = 0.4  # the worse of level 1
    chosen = with_tables(make_results(), trials=trials.reset_index())
    values = {row.level: row.a for row in searched_levels(chosen, chosen, METRIC)}
    assert values == pytest.approx({"none": 0.53, "1": 0.51, "2": 0.52})


@pytest.mark.parametrize(
    ("part", "name", "value", "word", "shown"),
    [
        ("arguments", "sampler", "gp", "settings", "sampler"),
        ("plan", "n_trials", 9, "settings", "trials"),
        ("plan", "profile", {**describe()["plan"]["profile"], "input_px": [32]}, "settings", "profile: input_px"),
        ("origin", "space", "another", "settings", "space"),
        ("origin", "code", "another", "program", "code"),
        ("environment", "commit", None, "program", "commit"),
        ("environment", "versions", {"torch": "2.16"}, "program", "torch"),
        ("data", "cells", {"fingerprint": "x", "n_images": 3, "classes": {}}, "images", "images"),
        ("data", "others", {"fingerprint": "x", "n_images": 3, "classes": {}}, "images", "transfer images"),
    ],
)
def test_one_difference_in_making_is_found_and_no_other(part, name, value, word, shown):
    content = describe()
    a, b = described(content), described({**content, part: {**content[part], name: value}})
    found = differences_in_making(a, b)
    assert {heading: list(facts) for heading, facts in found.items() if facts} == {word: [shown]}
    assert differences_in_making(b, a)[word][shown] == found[word][shown][::-1]


def test_paths_and_values_that_an_argument_left_open_make_no_difference():
    a = describe()
    moved = {**a["arguments"], "data": "/elsewhere/cells", "transfer_data": "/elsewhere/o", "space": "copied.py"}
    left_open = {**moved, "trials": 6, "profile": "quick"}
    renamed = {"cells again": a["data"]["cells"], "others": a["data"]["others"]}
    found = differences_in_making(described(a), described({**a, "arguments": left_open, "data": renamed}))
    assert not any(found.values())


def test_a_study_without_transfer_lacks_the_second_images():
    a = described()
    shown, nothing = differences_in_making(a, replace(a, data={"cells": a.data["cells"]}))["images"][
        "transfer images"
    ]
    assert shown.startswith("others, 60 ")
    assert nothing is None


def test_test_sets_are_the_same_if_images_and_data_are():
    a = make_results()
    assert same_test_set(a, make_results(network=1, seed=5))
    assert not same_test_set(a, make_results(fingerprint="other"))
    assert not same_test_set(a, without(a, "predictions", image="locked 3.png"))
