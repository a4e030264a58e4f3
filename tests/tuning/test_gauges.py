"""Gauges: their values, and the queries of the Grafana dashboard."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from search.common.metrics import METRIC_NAMES, Metrics
from search.records.observers import Training
from search.records.schema import Key
from search.training.types import EpochResult, EpochScore
from search.tuning import gauges
from search.tuning.gauges import GAUGES, WINDOW_S, Rates, StudyGauges

DEPLOY = Path(__file__).parents[2] / "deploy"


class FakeGauge:
    def __init__(self, name):
        self.name, self.series = name, SERIES

    def set(self, value, tags):
        study, *rest = tags.items()
        assert study == ("study", "mine")
        assert tuple(name for name, _ in rest) == GAUGES[self.name][1]
        SERIES[self.name, tuple(tags.values())[1:]] = value


SERIES = {}


@pytest.fixture
def shown(monkeypatch):
    SERIES.clear()
    monkeypatch.setattr(gauges, "make_gauge", FakeGauge)
    monkeypatch.setattr(gauges, "SET_EVERY_S", 0.0)
    return lambda: {key: value for key, value in SERIES.items() if not math.isnan(value)}


def trial(number, level="1"):
    key = Key(phase="search", number=number, level=level)
    return Training(key=key, title=f"trial {number}", params={}, n_train=100, epochs=2)


def epoch(score, number=1, train_s=0.5):
    training = EpochResult(epoch=number, lr=0.1, train_loss=1, train_accuracy=0.5, train_s=train_s, data_s=0)
    return EpochScore(training=training, validation=Metrics(**dict.fromkeys(METRIC_NAMES, score)), val_s=0.0)


def test_a_trial_is_shown_while_it_runs(shown):
    mine = StudyGauges("mine", "accuracy", [])
    mine.begin(trial(7))
    mine.epoch(trial(7), 0, epoch(0.25))
    mine.epoch(trial(7), 0, epoch(0.75))
    mine.tick()
    assert shown()["wbc_search_validation_score", ("7", "1")] == 0.75
    assert shown()["wbc_search_trials", ("RUNNING",)] == 1
    assert shown()["wbc_search_epochs_per_second", ()] > 0
    mine.end(trial(7), "COMPLETE", 0.5)
    assert ("wbc_search_validation_score", ("7", "1")) not in shown()
    assert shown()["wbc_search_trials", ("RUNNING",)] == 0
    assert shown()["wbc_search_trials", ("COMPLETE",)] == 1
    assert shown()["wbc_search_best_score", ("1",)] == 0.5
    assert shown()["wbc_search_epochs_per_second", ()] == shown()["wbc_search_images_per_second", ()] == 0


def test_trainings_shorter_than_a_second_have_a_rate(shown, monkeypatch):
    monkeypatch.setattr(gauges, "SET_EVERY_S", 1000.0)
    mine = StudyGauges("mine", "accuracy", [])
    for number in range(3):
        mine.begin(trial(number))
        assert (shown()["wbc_search_epochs_per_second", ()] > 0) == (number > 0)
        mine.epoch(trial(number), 0, epoch(0.5))
        mine.end(trial(number), "COMPLETE", 0.5)


def test_best_is_of_complete_trials_of_all_runs(shown):
    rows = [
        {"level": "1", "state": "COMPLETE", "value": 0.6},
        {"level": "1", "state": "PRUNED", "value": 0.9},
        {"level": "none", "state": "FAIL", "value": None},
    ]
    mine = StudyGauges("mine", "accuracy", rows)
    assert shown()["wbc_search_best_score", ("1",)] == 0.6
    mine.end(trial(3), "COMPLETE", 0.5)
    mine.end(trial(5), "PRUNED", 0.99)
    assert shown()["wbc_search_best_score", ("1",)] == 0.6
    assert ("wbc_search_best_score", ("none",)) not in shown()
    states = {key[1][0]: value for key, value in shown().items() if key[0] == "wbc_search_trials"}
    assert states == {"RUNNING": 0, "COMPLETE": 2, "PRUNED": 2, "FAIL": 1}


def test_trainings_of_other_phases_are_no_trials(shown):
    mine = StudyGauges("mine", "accuracy", [])
    fold = replace(trial(0), key=Key(phase="confirm", number=7, level="1", fold=3))
    mine.begin(fold)
    mine.epoch(fold, 0, epoch(0.5))
    mine.end(fold, "COMPLETE", 0.5)
    assert sum(value for key, value in shown().items() if key[0] == "wbc_search_trials") == 0
    assert not any(key[0] in ("wbc_search_best_score", "wbc_search_validation_score") for key in shown())


def test_nothing_is_left_of_a_study_that_ended(shown):
    mine = StudyGauges("mine", "accuracy", [{"level": "1", "state": "COMPLETE", "value": 0.6}])
    mine.begin(trial(7))
    mine.epoch(trial(7), 0, epoch(0.25))
    assert shown()
    mine.close()
    assert shown() == {}


def test_rates_are_of_the_window():
    rates = Rates()
    for second in range(1, 11):
        rates.add(second, 1.0, 100)
    assert rates.at(10.0) == (1.0, 100.0)
    assert rates.at(10 + WINDOW_S)[0] == pytest.approx(1 / WINDOW_S)
    assert rates.at(11 + WINDOW_S) == (0.0, 0.0)
    rates.add(12 + WINDOW_S, 1.0, 100)
    assert rates.at(12 + WINDOW_S) == (1.0, 100.0)


def test_rates_of_long_epochs_span_two():
    rates = Rates()
    rates.add(300.0, 300.0, 3000)
    assert rates.at(590.0) == pytest.approx((1 / 590, 3000 / 590))


def queries(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def test_the_grafana_dashboard_asks_for_every_gauge_and_nothing_else():
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    asked = set()
    for query in queries(dashboard):
        assert 'study="$study"' in query
        selector = re.search(r"(\w+)\{(.*?)\}", query)
        name = selector.group(1).removeprefix("ray_")
        asked.add(name)
        by = re.search(r"by \((.*?)\)", query)
        tags = set(by.group(1).split(", ")) if by else set()
        assert tags - {"NodeAddress", "WorkerId"} == set(GAUGES[name][1])  # those two are Ray's own
    assert asked == set(GAUGES)
    source, study = dashboard["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    assert re.fullmatch(r"label_values\(ray_(\w+), study\)", study["query"]["query"]).group(1) in GAUGES
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in dashboard["panels"])
