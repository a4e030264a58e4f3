"""How networks score another laboratory is shown once computed: in the terminal, on the page, and not before."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from made_studies import with_tables
from rich.console import Console

from search.analysis.verdict import verdict
from search.records.results import read_results
from search.report.figures.transfer import draw_transfer
from search.report.page.answer import answer
from search.report.page.caveats import caveats
from search.report.page.tables import transfer_tables, untouched_tables
from search.report.terminal import print_results

METRIC = "balanced_accuracy"


@pytest.fixture(scope="module")
def results(study):
    return read_results(study)


def test_the_page_has_a_row_for_every_level_and_for_the_saved_network(results):
    (table,) = untouched_tables(results)
    rows, saved = results.untouched, results.saved_untouched
    assert [row[0].text for row in table.rows[: len(rows)]] == list(rows["level"])
    assert list(saved["way"]) == ["untouched", "untouched_adapted"]
    assert len(table.rows) == len(rows) + len(saved)
    home = results.levels.set_index("level")[METRIC]
    for row, (_, scores) in zip(table.rows, rows.iterrows(), strict=False):
        assert row[3].text.startswith(f"{scores[f'{METRIC}_mean']:.3f}")
        assert f"{scores[f'{METRIC}_low']:.3f} to {scores[f'{METRIC}_high']:.3f}" in row[3].text
        if scores["level"] in home:
            assert row[-1].text == f"{home[scores['level']]:.3f}"


def test_what_is_trained_on_the_target_and_what_is_not_are_apart(results):
    ways = transfer_tables(results, verdict(results))[0]
    assert len(ways.rows) == len(results.transfer) == 9
    assert set(results.transfer["way"]) == {"scratch", "frozen", "fine_tuned"}


def test_the_answer_is_of_the_recommended_level(results):
    found = verdict(results)
    shown = answer(results, found).abroad
    row = results.untouched.set_index("level").loc[found.recommendation.level]
    assert shown.score == f"{row[f'{METRIC}_mean']:.3f}"
    assert f"{row[f'{METRIC}_low']:.3f}" in shown.text
    for _, saved in results.saved_untouched.iterrows():
        assert f"{saved[f'{METRIC}_mean']:.3f}" in shown.adapted


def test_the_terminal_shows_the_same_numbers(study, results):
    output = io.StringIO()
    print_results(Console(file=output, width=160), study)
    for _, row in results.untouched.iterrows():
        score = f"{row[f'{METRIC}_mean']:.3f} ({row[f'{METRIC}_low']:.3f} to {row[f'{METRIC}_high']:.3f})"
        assert any(row["level"] in line and score in line for line in output.getvalue().splitlines())


def test_a_study_without_such_scores_shows_none(results):
    transfer = results.tables["transfer"]
    without = with_tables(results, transfer=transfer[transfer["phase"] == "transfer"])
    assert untouched_tables(without) == []
    assert answer(without, verdict(without)).abroad is None
    assert draw_transfer(without.untouched) is None


def test_classes_that_only_one_of_them_has_are_named(results):
    description = results.description
    name, target = description.target
    classes = {**target.classes, "blast": 7}
    del classes["monocyte"]
    data = {**description.data, name: replace(target, classes=classes)}
    changed = replace(results, description=replace(description, data=data))
    usual, lines = (caveats(own, verdict(own)) for own in (results, changed))
    more = [line for line in lines if line not in usual and "ntouched" in line]
    assert any("blast" in line for line in more)
    assert any("no monocyte" in line for line in more)


def test_further_laboratories_have_tables_of_their_own(results):
    rows = results.untouched.assign(phase="shift", trained_on="cells")
    both = [rows.assign(data=name) for name in ("one", "other")]
    found = with_tables(results, shift=pd.concat(both))
    assert [table.name for table in untouched_tables(found)] == ["untouched", "shift-1", "shift-2"]
