"""A study's folder as values."""

import shutil
from dataclasses import fields

import pandas as pd
import pytest
from written_study import write_study

from search.common.errors import InputError
from search.records.results import Results, read_results, winner

TABLES = [field.name for field in fields(Results) if field.type is pd.DataFrame]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("reading") / "study", n_trials=8)


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to take things away from."""
    return shutil.copytree(whole, tmp_path / "study")


def test_a_finished_study_is_read_in_full_and_left_as_it_is(whole):
    before = {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    results = read_results(whole)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(results, name), pd.read_parquet(whole / f"{name}.parquet"))
        assert len(getattr(results, name))
    assert results.path == whole
    assert results.description["phases_done"] == ["search", "compare", "test", "transfer"]
    assert results.model.classes == tuple(results.description["data"]["cells"]["classes"])
    assert {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()} == before


def test_scales_are_read_where_optuna_kept_them(folder):
    assert read_results(folder).log == {"lr"}
    (folder / "optuna.journal").unlink()
    assert read_results(folder).log == set()
    assert not (folder / "optuna.journal").exists()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_not_there_is_empty_and_the_others_are_read(folder, name):
    (folder / f"{name}.parquet").unlink()
    results = read_results(folder)
    assert [other for other in TABLES if getattr(results, other).empty] == [name]


def test_weights_that_were_not_kept_are_no_fault(folder):
    (folder / "model" / "weights.safetensors").unlink()
    assert read_results(folder).model is None


@pytest.mark.parametrize(
    "name", ["study.json", "trials.parquet", "cells.parquet", "optuna.journal", "model/weights.safetensors"]
)
def test_a_damaged_file_is_named(folder, name):
    (folder / name).write_bytes(2 * b"no such thing\n")  # Optuna forgives a last line
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_results(folder)


def test_a_folder_without_a_study_is_named(tmp_path):
    with pytest.raises(InputError, match="no study"):
        read_results(tmp_path)


def test_the_winner_is_the_best_of_the_tuned_levels_and_of_equals_the_first(whole):
    results = read_results(whole)
    tuned = results.comparison.query("settings == 'tuned'").set_index("level")
    assert winner(results) == tuned["balanced_accuracy"].idxmax() == results.description["winner"]["level"]
    comparison = results.comparison
    comparison["balanced_accuracy"] = 0.5
    assert winner(results) == "none"
    comparison.loc[comparison["settings"] != "tuned", "balanced_accuracy"] = 0.9
    assert winner(results) == "none"
    comparison.loc[comparison["level"] == "3", "balanced_accuracy"] = 0.6
    assert winner(results) == "3"


@pytest.mark.parametrize("stop", [("search", 5), ("compare", 9)])
def test_before_levels_are_compared_there_is_no_winner(tmp_path, stop):
    results = read_results(write_study(tmp_path / "study", n_trials=8, stop=stop))
    assert winner(results) is None
    assert results.model is None
    assert len(results.trials) == min(8, stop[1] if stop[0] == "search" else 8)
    assert len(results.comparison) == len(results.transfer) == len(results.cells) == 0
