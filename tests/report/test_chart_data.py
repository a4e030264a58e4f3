"""The values behind the charts: aggregates of the tables, as JSON takes them."""

import json

import numpy as np
import pytest

from search.analysis.verdict import verdict
from search.records.results import read_results
from search.report.page.bylevel import by_level, learning_curves
from search.report.page.charts import chart_data


@pytest.fixture(scope="module")
def results(study):
    return read_results(study)


@pytest.fixture(scope="module")
def data(results):
    return chart_data(results, verdict(results))


def test_the_values_are_plain_json_without_nan(results, data):
    assert json.loads(json.dumps(data, allow_nan=False))["levels"] == data["levels"]
    unfinished = chart_data(results, None)
    assert json.dumps(unfinished, allow_nan=False)
    assert "effects" not in unfinished


def test_every_row_of_a_chart_has_a_value_of_each_series(data):
    for name in ("effects", "interactions", "scores", "transfer", "importance"):
        chart = data[name]
        assert chart["rows"], name
        for panel in chart["panels"]:
            for series in panel["series"]:
                parts = [series[part] for part in ("mid", "low", "high", "looks") if part in series]
                assert {len(part) for part in parts} == {len(chart["rows"])}
        assert all(0 <= level < len(data["levels"]) for _, own in chart["rows"] for level in own)


def test_an_effect_lights_the_levels_that_have_it(results, data):
    lights = dict(data["effects"]["rows"])
    for effect, levels in results.description.effects.items():
        assert {data["levels"][level] for level in lights[effect]} == set(levels)


def test_confusions_and_mistakes_are_those_of_the_predictions(results, data):
    classes = data["classes"]
    for level, detail in zip(data["levels"], data["details"], strict=True):
        rows = results.compared("predictions", level)
        counts = np.array(detail["confusion"])
        assert counts.sum() == len(rows)
        assert np.trace(counts) == (rows["label"] == rows["predicted"]).sum()
        for image, predicted, times in detail["mistakes"]:
            name, label = data["images"][image]
            own = rows[(rows["image"] == name) & (rows["predicted"] == classes[predicted])]
            assert len(own) == times
            assert set(own["label"]) == {classes[label]}
        _, _, n = detail["reliability"]
        assert sum(n) == len(rows)


def test_curves_are_the_mean_and_the_range_of_trainings(results):
    epochs = results.compared("epochs", results.description.levels[0])
    curves = learning_curves(epochs)
    wide = epochs.pivot_table(index="epoch", columns=["setting", "repeat", "fold"], values="val_loss")
    assert np.allclose(curves["val_loss"], [wide.mean(axis=1), wide.min(axis=1), wide.max(axis=1)], atol=1e-4)
    assert learning_curves(epochs[epochs["epoch"] == 1]) is None


def test_a_level_that_was_not_compared_has_no_details(results):
    assert by_level(results, ["never compared"])["details"] == [None]
