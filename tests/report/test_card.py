"""The model card of a study's network."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from written_study import CLASSES, write_study

from search.analysis.verdict import verdict
from search.data.catalogue import CATALOGUE
from search.records.results import read_results
from search.report.card import Use, licence_of, model_card
from search.report.page.caveats import caveats

USE = Use(library="onnx", text="Run it.")


def card(results, **changes):
    results = replace(results, description=replace(results.description, **changes))
    return ModelCard(model_card(results, verdict(results), results.model, "a name: with a colon", USE))


@pytest.fixture(scope="module")
def results(study):
    return read_results(study)


def test_the_hub_reads_its_header(results):
    data = card(results).data
    assert (data.library_name, data.license) == ("onnx", "unknown")
    scores = {
        (each.dataset_type, each.dataset_name, each.metric_type): each.metric_value for each in data.eval_results
    }
    of_test = {metric: value for (_, name, metric), value in scores.items() if "test" in name}
    assert of_test["accuracy"] == pytest.approx(results.description.test["accuracy"], abs=1e-3)
    assert {data for data, _, _ in scores} == {"cells", "others"}


def test_it_says_what_the_network_is_and_what_it_was_made_from(results):
    text = card(results).text
    for name in (*CLASSES, *results.description.data, results.description.question, "Run it.", "unknown"):
        assert name in text
    for line in caveats(results, verdict(results)):
        assert line in text


def test_drawn_cells_are_named_first(results):
    drawn = {"synthetic": results.description.source[1], "others": results.description.target[1]}
    assert "drawn cells" not in card(results).text
    first = card(results, data=drawn).text.strip().splitlines()[0]
    assert "drawn cells" in first


def test_a_network_that_is_no_longer_the_winner_has_no_scores(results):
    other = card(results, winner={**results.description.winner, "level": "another"})
    assert not other.data.eval_results
    assert "no scores" in other.text


def test_licences_are_those_of_published_sets_read_by_name(results):
    description, images = results.description, results.description.source[1]
    published = replace(
        description,
        data={"pbc": images},
        arguments=replace(description.arguments, data="pbc", transfer_data="none"),
    )
    assert licence_of(published, "pbc") == CATALOGUE["pbc"].licence
    of_a_folder = replace(published, arguments=replace(published.arguments, data="/somewhere/pbc"))
    assert licence_of(of_a_folder, "pbc") == licence_of(description, "cells") == "unknown"


def test_the_report_writes_it_beside_the_network(study):
    assert ModelCard.load(study / "model" / "README.md").data.library_name == "wbc-search"


def test_a_study_without_a_verdict_has_a_card(tmp_path):
    results = read_results(write_study(tmp_path / "study", n_trials=16, n_folds=2, stop=("transfer", 0)))
    text = model_card(results, None, results.model, "cells", USE)
    assert ModelCard(text).data.library_name == "onnx"
