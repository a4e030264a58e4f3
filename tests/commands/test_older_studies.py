"""Studies that were written before tables and descriptions had all that they have now."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from search import show
from search.analysis.verdict import verdict
from search.common.commandline import exit_code
from search.records.results import read_results

REFERENCE = Path(__file__).parents[2] / "results" / "residual_placement-pbc2172-lisc255"
LACKING = {
    "trials": ("confirmed_value", "images_per_s", "error"),
    "epochs": ("data_s", "val_s"),
    "comparison": ("latency_ms", "p_mcnemar", "p_better", "p_equal", "p_worse"),
}
LEVELS = ("none", "1+2", "2")


@pytest.fixture
def older(tmp_path):
    """The reference study with fewer levels, columns and entries."""
    folder = tmp_path / "older"
    folder.mkdir()
    levels = [("level", "in", (*LEVELS, "paper_plain", "paper_wbcsnet2"))]
    for name in ("trials", "epochs", "folds", "predictions", "comparison", "transfer"):
        table = pq.read_table(REFERENCE / f"{name}.parquet", filters=levels)
        pq.write_table(table.drop_columns(LACKING.get(name, ())), folder / f"{name}.parquet")
    description = json.loads((REFERENCE / "study.json").read_text(encoding="utf-8"))
    for entry in ("environment", "commands", "finished", "forced", "test_scored", "time", "subjects"):
        description.pop(entry, None)
    for argument in ("sampler", "pruner", "finalists", "objectives", "skip_bad"):
        del description["arguments"][argument]
    del description["plan"]["finalists"]
    (folder / "study.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def test_it_is_read_with_nulls_and_defaults(older):
    results, whole = read_results(older), read_results(REFERENCE)
    assert results.comparison[list(LACKING["comparison"])].isna().all(axis=None)
    assert (results.winner, results.description.test) == (whole.winner, whole.description.test)
    assert results.description.arguments.sampler == "tpe"


def test_it_is_shown(older, capsys):
    assert exit_code(show.app, [str(older)]) == 0
    shown = capsys.readouterr().out
    for text in (*LEVELS, "paper_plain", "0.893", "0.953", "0.813", "own settings", "shared settings"):
        assert text in shown
    assert " ".join(shown.split()).startswith(verdict(read_results(older)).headline)
    assert "Holm" not in shown
    assert "nan" not in shown


def test_it_is_compared_with_a_newer_study(older, capsys):
    assert exit_code(show.app, ["--compare", str(older), str(REFERENCE)]) == 0
    shown = capsys.readouterr().out
    assert "same 10 folds" in shown
    assert "their own settings" in shown
    assert "nan" not in shown
    assert "commit" in shown


def test_its_page_is_made(older):
    from search.report.__main__ import app  # matplotlib takes a second to import

    assert exit_code(app, [str(older)]) == 0
    page = (older / "report.html").read_text(encoding="utf-8")
    assert "1+2" in page
    assert not re.search(r"\b(nan|Holm|McNemar)\b", page)
    assert (older / "figures" / "effects.svg").exists()
