import shutil
from dataclasses import replace

import pandas as pd
import pytest
from made_studies import LEVELS, PAPER, make_results, with_tables
from written_study import write_study

from search.common.errors import InputError
from search.records.results import Results, first_repeat, read_results
from search.records.schema import GROWING, OPTIONAL, TABLES


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
    for name in set(TABLES) - {"pareto", "shift"}:
        table = results.every_row(name)
        pd.testing.assert_frame_equal(table, pd.read_parquet(whole / f"{name}.parquet"))
        if name in GROWING:
            table = table[table["phase"] != "search"].reset_index(drop=True)
        pd.testing.assert_frame_equal(results.tables[name], table)
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


def test_views_of_the_comparison_hold_each_row_once():
    results = make_results()
    views = (results.levels, results.paper, results.at_settings)
    assert [list(view["level"]) for view in views] == [
        [*LEVELS],
        [*PAPER],
        [level for level in LEVELS for _ in "01"],
    ]
    assert sum(map(len, views)) == len(results.comparison)
    assert sorted(pd.concat(views).index) == list(results.comparison.index)


@pytest.mark.parametrize("table", ["folds", "predictions"])
def test_a_levels_trainings_in_the_comparison(table):
    results = make_results(repeats=2)
    for level, setting in (("1", 0), ("1", 1), ("1", None), ("paper_plain", None), ("paper_plain", 0)):
        rows = results.compared(table, level, setting)
        assert set(rows["phase"]) == {"compare"}
        assert set(rows["level"]) == {level}
        expected = set() if level in PAPER else {0, 1} if setting is None else {setting}
        assert set(rows["setting"].dropna()) == expected
    assert set(first_repeat(results.compared(table, "1"))["repeat"]) == {0}
    assert results.compared(table, "no such level").empty


def test_the_winner_has_the_best_estimate_and_of_equals_is_the_first(whole):
    results = read_results(whole)
    best = results.at_settings.set_index(["level", "setting"])["estimate_shrunken"].idxmax()
    row = results.winner_row
    assert (row["level"], row["setting"]) == best
    assert results.winner == best[0] == results.description.winner["level"]
    assert set(results.of_winner("folds")["setting"]) == {best[1]}
    comparison = results.comparison.copy()
    estimated = comparison["estimate_shrunken"].notna()
    comparison.loc[estimated, "estimate_shrunken"] = 0.5
    assert with_tables(results, comparison=comparison).winner == "none"
    comparison.loc[estimated & (comparison["level"] == "3"), "estimate_shrunken"] = 0.6
    assert with_tables(results, comparison=comparison).winner == "3"


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


@pytest.mark.parametrize(
    "entry",
    [{}, {"architecture": {}, "class": ["wbcmodels.traditional.config", "Traditional"]}, {"architecture": 5}],
    ids=str,
)
def test_a_classifier_that_is_described_wrongly_is_named(whole, entry):
    results = read_results(whole)
    wrong = replace(results, description=replace(results.description, estimators={"measured": entry}))
    with pytest.raises(InputError, match=r"study\.json: estimators: measured"):
        wrong.estimators()


def test_a_classifier_of_other_code_is_left_out_unless_it_is_trusted(whole):
    results, entry = read_results(whole), {"architecture": {}, "class": ["network.py", "Mine"]}
    assert replace(results, description=replace(results.description, estimators={"m": entry})).estimators() == {}
