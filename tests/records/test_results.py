import shutil
from dataclasses import replace

import pandas as pd
import pytest
from made_studies import LEVELS, PAPER, make_results, with_tables
from written_study import write_study

from search.common.errors import InputError
from search.records.results import Results, first_repeat, read_results
from search.records.schema import OPTIONAL, TABLES, Settings

TUNED, EQUAL = Settings


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
    for name in set(TABLES) - {"pareto"}:
        pd.testing.assert_frame_equal(results.tables[name], pd.read_parquet(whole / f"{name}.parquet"))
        assert len(results.tables[name])
    assert results.path == whole
    assert results.description.phases_done == ("search", "compare", "test", "transfer")
    assert results.model.classes == tuple(results.description.source[1].classes)
    assert results.log_parameters == {"lr"}
    assert {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()} == before


def test_what_is_not_there_is_empty(folder):
    for file in (*folder.glob("*.parquet"), folder / "optuna.journal", folder / "model" / "weights.safetensors"):
        file.unlink()
    results = read_results(folder)
    assert all(results.tables[name].empty for name in TABLES)
    assert results.model is results.winner is None
    assert list(results.families()) == []
    assert results.tested().empty
    assert results.log_parameters == set()
    assert not (folder / "optuna.journal").exists()


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("study.json", lambda results: None),
        ("trials.parquet", lambda results: results.trials),
        ("cells.parquet", lambda results: results.tables["cells"]),
        ("optuna.journal", lambda results: results.log_parameters),
        ("model/weights.safetensors", lambda results: results.model),
    ],
)
def test_a_damaged_file_is_named_and_harms_no_other(folder, name, use):
    (folder / name).write_bytes(2 * b"no such thing\n")  # Optuna forgives a last line
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        use(read_results(folder))
    if name != "study.json":
        assert len(read_results(folder).folds)


def test_families_are_the_tuned_levels_with_the_papers_networks_and_the_equal_ones():
    results = make_results()
    families = {settings: list(rows["level"]) for settings, rows in results.families()}
    assert families == {TUNED: [*LEVELS, *PAPER], EQUAL: [*LEVELS]}
    views = (results.tuned, results.paper, results.equal)
    assert [list(view["level"]) for view in views] == [[*LEVELS], [*PAPER], [*LEVELS]]
    alone = with_tables(results, comparison=results.tuned)
    assert [settings for settings, _ in alone.families()] == [TUNED]


@pytest.mark.parametrize("table", ["folds", "predictions"])
def test_a_levels_trainings_in_the_comparison(table):
    results = make_results(repeats=2)
    for level, settings in (("1", TUNED), ("1", EQUAL), ("paper_plain", TUNED), ("paper_plain", EQUAL)):
        rows = results.compared(table, level, settings)
        assert set(rows["phase"]) == {"compare"}
        assert set(rows["level"]) == {level}
        assert rows["settings"].isna().all() if level in PAPER else set(rows["settings"]) == {settings}
        assert set(first_repeat(rows)["repeat"]) == {0}
    # Settings that are both are trained once.
    rows = results.tables[table]
    once = with_tables(results, **{table: rows[rows["settings"] != "equal"]})
    pd.testing.assert_frame_equal(once.compared(table, "1", EQUAL), results.compared(table, "1", TUNED))
    assert results.compared(table, "no such level").empty


def test_the_winner_is_the_best_of_the_tuned_levels_and_of_equals_the_first(whole):
    results = read_results(whole)
    tuned = results.tuned.set_index("level")["balanced_accuracy"]
    assert results.winner == tuned.idxmax() == results.winner_row["level"] == results.description.winner["level"]
    comparison = results.comparison.assign(balanced_accuracy=0.5)
    equals = with_tables(results, comparison=comparison)
    assert equals.winner == "none"
    comparison.loc[comparison["settings"] != "tuned", "balanced_accuracy"] = 0.9
    assert equals.winner == "none"
    comparison.loc[comparison["level"] == "3", "balanced_accuracy"] = 0.6
    assert equals.winner == "3"


def test_test_predictions_are_those_of_the_winner_at_its_settings(whole):
    results = read_results(whole)
    rows = results.tested()
    assert set(rows["phase"]) == {"test"}
    assert set(rows["level"]) == {results.winner}
    assert rows["image"].is_unique
    # A study that is extended can have another winner, or other settings of the same.
    for change in ({"level": "no such level"}, {"lr": 0.5}):
        scored = replace(results.description, winner={**results.description.winner, **change})
        assert replace(results, description=scored).tested().empty
    assert replace(results, description=replace(results.description, winner=None)).tested().empty


@pytest.mark.parametrize("stop", [("search", 5), ("compare", 9)])
def test_a_study_that_was_stopped_gives_what_it_has(tmp_path, stop):
    results = read_results(write_study(tmp_path / "study", n_trials=8, stop=stop))
    assert isinstance(results, Results)
    assert results.winner is results.model is results.description.finished is None
    assert len(results.trials) == min(8, stop[1] if stop[0] == "search" else 8)
    assert all(results.tables[name].empty for name in ("comparison", "transfer", *OPTIONAL))
