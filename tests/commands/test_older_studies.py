"""Studies that were written before tables and descriptions had all that they have now."""

import re
import shutil
from pathlib import Path

import pytest

from search import show
from search.analysis.verdict import verdict
from search.common.commandline import exit_code
from search.records.results import read_results

OLDER = Path(__file__).parents[1] / "support" / "older_study"
REFERENCE = Path(__file__).parents[2] / "results" / "residual_placement-pbc2172-lisc255"
LACKING = ("latency_ms", "p_mcnemar", "p_better", "p_equal", "p_worse")  # in its comparison
LEVELS = ("none", "1+2", "2")


@pytest.fixture
def older(tmp_path):
    """A copy of a study that an earlier version wrote: three placements, each at settings of its own."""
    return shutil.copytree(OLDER, tmp_path / "older")


def test_it_is_read_with_nulls_and_defaults(older):
    results = read_results(older)
    assert results.comparison[list(LACKING)].isna().all(axis=None)
    assert results.winner == "1+2"
    assert results.description.test["accuracy"] == pytest.approx(0.977, abs=0.001)
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
