from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_studies import LEVELS, METRIC, PAPER, SIZES, make_study
from scipy import stats

from search.analysis.two_studies import (
    StudyTables,
    compared,
    differences_in_making,
    outcome,
    same_test_set,
    searched,
    shared_repeats,
)
from search.records.schema import KEY_COLUMNS, TABLES, field_of

UNPAIRED = ({"seed": 1}, {"n_folds": 5}, {"images": 80}, {"fingerprint": "other"})


def frame(table, rows):
    """Rows as a study's folder gives them back."""
    schema = pa.schema([field_of(name) for name in (*KEY_COLUMNS, *TABLES[table])])
    return pa.Table.from_pylist(rows, schema=schema).to_pandas()


def study(**options):
    description, rows = make_study(**options)
    return StudyTables(description=description, **{name: frame(name, rows[name]) for name in rows})


def without(study, table, **values):
    """The study without the rows of a table that have all these values."""
    rows = getattr(study, table)
    gone = np.logical_and.reduce([rows[name] == value for name, value in values.items()])
    return replace(study, **{table: rows[~gone]})


def empty(study, *tables):
    return replace(study, **{table: getattr(study, table).iloc[:0] for table in tables})


def scores_of(study, level, repeats=(0,), settings="tuned"):
    folds = study.folds[(study.folds["level"] == level) & (study.folds["settings"].fillna("tuned") == settings)]
    return folds[folds["repeat"].isin(repeats)].sort_values(["repeat", "fold"])[METRIC].to_numpy()


@pytest.mark.parametrize("settings", ["tuned", "equal"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_study_beside_itself_differs_in_nothing(settings, repeats):
    one = study(repeats=repeats)
    assert differences_in_making(one.description, one.description) == {"images": {}, "settings": {}, "program": {}}
    assert shared_repeats(one, one) == list(range(repeats))
    assert same_test_set(one, one)
    rows = compared(one, one, settings, METRIC)
    assert [row.level for row in rows] == [*LEVELS, *(PAPER if settings == "tuned" else ())]
    for row in rows:
        assert row.a == row.b
        assert row.a_over_folds == row.b_over_folds
        assert (row.difference.mean, row.difference.low, row.difference.high, row.p_holm) == (0, 0, 0, 1)
    assert all(row.a == row.b for row in searched(one, one, METRIC))


@pytest.mark.parametrize("settings", ["tuned", "equal"])
def test_swapped_studies_swap_their_columns_and_flip_the_signs(settings):
    a, b = study(network=1), study(network=2)
    for row, swapped in zip(compared(a, b, settings, METRIC), compared(b, a, settings, METRIC), strict=True):
        assert (row.level, row.a, row.b) == (swapped.level, swapped.b, swapped.a)
        assert (row.a_over_folds, row.b_over_folds) == (swapped.b_over_folds, swapped.a_over_folds)
        assert row.difference.mean == pytest.approx(-swapped.difference.mean)
        assert row.difference.low == pytest.approx(-swapped.difference.high)
        assert row.difference.high == pytest.approx(-swapped.difference.low)
        assert row.p_holm == pytest.approx(swapped.p_holm)


@pytest.mark.parametrize("options", UNPAIRED)
def test_other_images_or_folds_do_not_pair(options):
    a, b = study(), study(network=1, **options)
    assert shared_repeats(a, b) == shared_repeats(b, a) == []
    for row in compared(a, b, "tuned", METRIC):
        assert row.difference is None
        assert np.isnan(row.p_holm)
        assert row.a_over_folds.low < row.a_over_folds.mean < row.a_over_folds.high
        assert row.b_over_folds.low < row.b_over_folds.mean < row.b_over_folds.high


@pytest.mark.parametrize("repeats", [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_differences_are_means_over_the_repeats_that_both_have(repeats):
    a, b = (study(network=nth, repeats=n) for nth, n in enumerate(repeats))
    shared = list(range(min(repeats)))
    assert shared_repeats(a, b) == shared
    for row in compared(a, b, "tuned", METRIC):
        gains = scores_of(b, row.level, shared) - scores_of(a, row.level, shared)
        assert len(gains) == 10 * len(shared)
        assert row.difference.mean == pytest.approx(gains.mean())


@pytest.mark.parametrize("tested", [(True, False), (False, True), (False, False)])
def test_a_study_that_was_not_tested_yet_pairs_with_one_that_was(tested):
    """Rows of the test have no fold, so that folds come back as floats."""
    a, b = (study(network=nth, tested=was) for nth, was in enumerate(tested))
    assert shared_repeats(a, b) == [0]
    assert all(row.difference is not None for row in compared(a, b, "tuned", METRIC))


def test_statistics_are_those_of_scipy():
    a, b = study(network=1), study(network=2)
    p_values = []
    rows = compared(a, b, "tuned", METRIC)
    for row in rows:
        gains = scores_of(b, row.level) - scores_of(a, row.level)
        error = np.sqrt((1 / 10 + 6 / 54) * gains.var(ddof=1))  # six of sixty images are a fold
        low, high = stats.t.interval(0.95, 9, loc=gains.mean(), scale=error)
        found = row.difference
        assert (found.mean, found.low, found.high) == pytest.approx((gains.mean(), low, high))
        p_values.append(2 * stats.t.sf(abs(gains.mean() / error), 9))
        assert found.p == pytest.approx(p_values[-1])
    adjusted = {}
    for nth, index in enumerate(np.argsort(p_values)):
        adjusted[rows[index].level] = min(1, max([*adjusted.values(), (len(rows) - nth) * p_values[index]]))
    assert {row.level: row.p_holm for row in rows} == pytest.approx(adjusted)


def test_without_an_overlap_of_folds_it_is_the_ordinary_paired_t_test():
    a, b = (replace(one, folds=one.folds.assign(n_val=0)) for one in (study(network=1), study(network=2)))
    for row in compared(a, b, "equal", METRIC):
        wanted = stats.ttest_rel(
            scores_of(b, row.level, settings="equal"), scores_of(a, row.level, settings="equal")
        )
        assert row.difference.p == pytest.approx(wanted.pvalue)


def test_levels_of_one_study_are_named_and_not_tested():
    a, b = study(levels=("none", "1", "2")), study(levels=("new", "2", "none"), network=1)
    rows = {row.level: row for row in compared(a, b, "tuned", METRIC)}
    assert list(rows) == ["none", "1", "2", "new", *PAPER]
    assert [level for level, row in rows.items() if row.difference is None] == ["1", "new"]
    assert rows["1"].b is rows["1"].b_over_folds is rows["new"].a is rows["new"].a_over_folds is None
    assert [row.level for row in searched(a, b, METRIC)] == ["none", "1", "2", "new"]
    # Holm's correction counts the four tests that are made.
    tested = {level: row for level, row in rows.items() if row.difference is not None}
    smallest = min(tested.values(), key=lambda row: row.difference.p)
    assert smallest.p_holm == pytest.approx(min(1, 4 * smallest.difference.p))


def test_levels_stand_in_the_order_of_the_space_whatever_that_of_the_table():
    a = study()
    turned = replace(a, comparison=a.comparison.iloc[::-1], trials=a.trials.iloc[::-1])
    assert [row.level for row in compared(turned, turned, "tuned", METRIC)] == [*LEVELS, *PAPER]
    assert [row.level for row in compared(turned, turned, "equal", METRIC)] == [*LEVELS]
    assert [row.level for row in searched(turned, turned, METRIC)] == [*LEVELS]


def test_a_level_that_lacks_a_fold_is_not_tested_and_hinders_no_other():
    a, b = study(), without(study(network=1), "folds", level="1", fold=3)
    untested = [row.level for row in compared(a, b, "tuned", METRIC) if row.difference is None]
    assert untested == ["1"]


def test_a_repeat_that_is_under_way_does_not_count():
    whole = study(repeats=2)
    begun = replace(
        whole,
        folds=whole.folds[(whole.folds["repeat"] == 0) | (whole.folds["fold"] == 0)],
        predictions=whole.predictions[(whole.predictions["repeat"] == 0) | (whole.predictions["fold"] == 0)],
    )
    assert shared_repeats(begun, begun) == [0]


def test_a_level_that_was_tuned_to_the_equal_settings_is_on_record_once():
    a, b = study(), without(study(network=1), "folds", level="1", settings="equal")
    row = next(row for row in compared(a, b, "equal", METRIC) if row.level == "1")
    gains = scores_of(b, "1") - scores_of(a, "1", settings="equal")
    assert row.difference.mean == pytest.approx(gains.mean())


def test_the_order_of_rows_does_not_matter():
    a, b = study(network=1), study(network=2)
    mixed = {name: getattr(b, name).sample(frac=1, random_state=0) for name in ("folds", "predictions")}
    assert compared(a, replace(b, **mixed), "tuned", METRIC) == compared(a, b, "tuned", METRIC)


def test_a_comparison_without_intervals_has_none():
    a = study()
    ends = {f"{METRIC}_{end}": np.nan for end in ("mean", "low", "high")}
    bare = replace(a, comparison=a.comparison.assign(**ends))
    assert all(row.a_over_folds is None for row in compared(bare, a, "tuned", METRIC))


def test_an_interrupted_study_gives_what_it_has():
    whole = study()
    begun = empty(study(tested=False), "comparison", "folds", "predictions", "transfer")
    assert compared(begun, begun, "tuned", METRIC) == []
    assert shared_repeats(whole, begun) == []
    assert not same_test_set(whole, begun)
    assert [row.b for row in searched(whole, begun, METRIC)] == [row.a for row in searched(whole, begun, METRIC)]
    assert outcome(begun, METRIC) == {"trials": "6 COMPLETE", "time_s": None}
    assert outcome(empty(begun, "trials"), METRIC)["trials"] is None
    assert all(row.b is None for row in searched(whole, empty(begun, "trials"), METRIC))


def test_the_best_trial_of_a_level_is_a_complete_one_and_the_confirmed_before_others():
    trials = study().trials.set_index("number")
    trials.loc[5, "state"] = "PRUNED"  # the best of level 2, after which its first is
    trials.loc[1, "confirmed_value"] = 0.4  # the worse of level 1
    chosen = replace(study(), trials=trials.reset_index())
    values = {row.level: row.a for row in searched(chosen, chosen, METRIC)}
    assert values == pytest.approx({"none": 0.53, "1": 0.51, "2": 0.52})


def test_outcome():
    found = outcome(study(), METRIC)
    assert (found["winner"], found["test"][METRIC], found["test_scored"]) == ("1", 0.75, 1)
    assert {name: found[name] for name in SIZES} == SIZES
    assert (found["way"], found["target"], found["transferred"]) == ("fine_tuned", "others", 0.8)
    assert "way" not in outcome(empty(study(), "transfer"), METRIC)


@pytest.mark.parametrize(
    ("part", "name", "value", "word", "shown"),
    [
        ("arguments", "sampler", "gp", "settings", "sampler"),
        ("arguments", "metric", "accuracy", "settings", "metric"),
        ("plan", "n_trials", 9, "settings", "trials"),
        ("plan", "profile", {"width": 0.25, "epochs": 8, "input_px": [32]}, "settings", "profile: input_px"),
        ("origin", "space", "another", "settings", "space"),
        ("origin", "code", "another", "program", "code"),
        ("environment", "commit", None, "program", "commit"),
        ("environment", "versions", {"torch": "2.16"}, "program", "torch"),
        ("data", "cells", {"fingerprint": "x", "n_images": 3, "classes": {}}, "images", "images"),
        ("data", "others", {"fingerprint": "x", "n_images": 3, "classes": {}}, "images", "transfer images"),
    ],
)
def test_one_difference_in_making_is_found_and_no_other(part, name, value, word, shown):
    a = study().description
    b = {**a, part: {**a[part], name: value}}
    found = differences_in_making(a, b)
    assert {heading: list(facts) for heading, facts in found.items() if facts} == {word: [shown]}
    turned = differences_in_making(b, a)
    assert turned[word][shown] == found[word][shown][::-1]


def test_names_and_what_is_not_asked_for_make_no_difference():
    a = study().description
    moved = {**a["arguments"], "data": "/elsewhere/cells", "transfer_data": "/elsewhere/o", "space": "copied.py"}
    older = {name: value for name, value in moved.items() if name != "sampler"}
    left_open = {**older, "trials": 6, "profile": "quick"}
    renamed = {"cells again": a["data"]["cells"], "others": a["data"]["others"]}
    found = differences_in_making(a, {**a, "arguments": left_open, "data": renamed})
    assert not any(found.values())


def test_a_study_without_transfer_lacks_the_second_images():
    a = study().description
    b = {**a, "data": {"cells": a["data"]["cells"]}}
    assert differences_in_making(a, b)["images"] == {"transfer images": ("others, 60 of 2 classes (target)", None)}


def test_test_sets_are_the_same_where_images_and_data_are():
    a = study()
    assert same_test_set(a, study(network=1, seed=5))
    assert not same_test_set(a, study(fingerprint="other"))
    assert not same_test_set(a, without(a, "predictions", image="locked 3.png"))


def test_tables_stay_as_they_were():
    a, b = study(network=1), study(network=2)
    before = {name: getattr(a, name).copy() for name in ("trials", "comparison", "folds", "predictions")}
    compared(a, b, "tuned", METRIC)
    searched(a, b, METRIC)
    for name, rows in before.items():
        pd.testing.assert_frame_equal(getattr(a, name), rows)
