"""Arguments and resources hold only allowed values, and name the option and the value otherwise."""

import math

import numpy as np
import pytest

from search.common.errors import InputError
from search.common.metrics import METRIC_NAMES
from search.records.arguments import COSTS, METRICS, Arguments, Resources, parse_duration, study_name


def refused(make, **values):
    """The message of the error, which names the option and the value."""
    with pytest.raises(InputError) as caught:
        make(**values)
    ((name, value),) = values.items()
    assert str(caught.value).startswith(f"--{name.replace('_', '-')} {value}: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("1h1m1s", 3661), ("0h1s", 1)]
)
def test_durations(text, seconds):
    assert Arguments(time_budget=text).time_budget_s == Resources(trial_timeout=text).trial_timeout_s == seconds


@pytest.mark.parametrize("seed", range(5))
def test_durations_add_up(seed):
    parts = [f"{n}{unit}" for n, unit in zip(np.random.default_rng(seed).integers(1, 100, 3), "hms", strict=True)]
    assert parse_duration("--x", "".join(parts)) == sum(parse_duration("--x", part) for part in parts)


@pytest.mark.parametrize(
    "text", ["", "30", "m", "30 m", " 30m", "-5m", "1d", "1h30", "0s", "1e3s", ".5h", "1.h", "nan", "1M"]
)
def test_bad_durations(text):
    refused(Arguments, time_budget=text)
    refused(Resources, trial_timeout=text)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("trials", 1), ("search_folds", 1), ("folds", 2), ("repeats", 1), ("seed", 0), ("finalists", 1)),
        ("compare_settings", 1),
    ],
)
def test_numbers_have_a_least_value(name, least):
    Arguments(**{name: least})
    assert str(least) in refused(Arguments, **{name: least - 1})


@pytest.mark.parametrize("margin", [0, -1, 100, math.nan])
def test_a_margin_is_a_number_of_points(margin):
    refused(Arguments, margin=margin)


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ({}, 2),
        ({"repeats": 3}, 6),
        ({"compare_settings": 3}, 3),
        ({"until_settled": "5"}, 5),
        ({"until_settled": "4", "compare_settings": 1}, 4),
    ],
)
def test_runs_are_one_for_each_setting_unless_more_are_asked_for(given, runs):
    arguments = Arguments(**given)
    assert arguments.most_runs == runs
    assert arguments.settling_budget_s is None


def test_a_comparison_until_it_is_settled_is_limited_by_runs_or_by_time():
    timed = Arguments(until_settled="1h30m")
    assert timed.settling_budget_s == 5400
    assert timed.most_runs > 2
    for text in ("1", "0", "-4", "four", "2.5", ""):
        refused(Arguments, until_settled=text)
    with pytest.raises(InputError, match=r"--until-settled 4.*--repeats 2"):
        Arguments(until_settled="4", repeats=2)


@pytest.mark.parametrize(("name", "least"), [("gpus_per_trial", 0), ("cpus_per_trial", 1), ("max_concurrent", 1)])
def test_resources_have_a_least_value(name, least):
    Resources(**{name: least})
    assert str(least) in refused(Resources, **{name: least - 1})
    refused(Resources, **{name: math.nan})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("profile", "Paper", "paper"),
        ("metric", "log_loss", "macro_f1"),
        ("sampler", "", "nsga2"),
        ("pruner", "hyperband", "asha"),
    ],
)
def test_choices_are_listed(name, value, allowed):
    assert allowed in refused(Arguments, **{name: value})


def test_a_log_is_one_of_those_known():
    assert "mlflow" in refused(Resources, log_to="sacred")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("others", [(), COSTS, ("macs",)])
def test_objectives_are_the_metric_and_others(metric, others):
    assert metric in METRIC_NAMES
    assert Arguments(metric=metric).objective_names == (metric,)
    names = (metric, *others)
    assert Arguments(metric=metric, objectives=" , ".join(names)).objective_names == names


@pytest.mark.parametrize(
    ("objectives", "culprit"),
    [
        ("balanced_accuracy,", "macs"),
        ("balanced_accuracy,latency_ms", "latency_ms"),
        ("Balanced_Accuracy", "Balanced_Accuracy"),
        ("macs,balanced_accuracy", "--metric"),
        ("balanced_accuracy,macs,macs", "twice"),
    ],
)
def test_bad_objectives(objectives, culprit):
    with pytest.raises(InputError, match="--objectives") as caught:
        Arguments(objectives=objectives)
    assert culprit in str(caught.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, None),
        (" 1 = a , 2 = b c ", {"1": "a", "2": "b c"}),
        ("x=a,y=a", {"x": "a", "y": "a"}),
        ("1=a=b", {"1": "a=b"}),
    ],
)
def test_class_names(text, names):
    assert Arguments(class_names=text).class_name_of == names


@pytest.mark.parametrize("text", ["", "1", "1=", "=a", "1=a,", "1=a,,2=b", "1:a", "1=a,1=b"])
def test_bad_class_names(text):
    refused(Arguments, class_names=text)


@pytest.mark.parametrize(
    ("data", "given", "target"),
    [
        ("synthetic", None, "synthetic"),
        ("synthetic", "none", "none"),
        ("cells", None, "none"),
        ("cells", "synthetic", "synthetic"),
    ],
)
def test_synthetic_data_transfer_to_synthetic_data_by_default(data, given, target):
    arguments = Arguments(data=data, transfer_data=given)
    assert arguments.target_data == arguments.recorded()["transfer_data"] == target


def test_recorded_arguments_are_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = Arguments(space="own.py", data="cells", transfer_data="none", trials=9, pruner="none")
    recorded = arguments.recorded()
    assert (recorded["space"], recorded["data"]) == (str(tmp_path / "own.py"), str(tmp_path / "cells"))
    assert Arguments(space="ablation").recorded()["space"] == "ablation"
    monkeypatch.chdir("/")
    assert Arguments(**recorded).recorded() == recorded


@pytest.mark.parametrize("data", ["pbc", "bloodmnist", "s3://bucket/cells", "https://somewhere/cells.zip"])
def test_names_and_addresses_are_recorded_as_they_are(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    recorded = Arguments(data=data, transfer_data=data, data_dir="sets").recorded()
    assert (recorded["data"], recorded["transfer_data"]) == (data, data)
    assert recorded["data_dir"] == str(tmp_path / "sets")


def test_a_folder_with_the_name_of_a_data_set_is_recorded_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pbc").mkdir()
    assert Arguments(data="pbc").recorded()["data"] == str(tmp_path / "pbc")
    assert Arguments(data="./lisc").recorded()["data"] == str(tmp_path / "lisc")


def test_a_study_is_named_after_its_space_and_start():
    assert study_name("somewhere/own.py", "2026-03-04T05:06:07+00:00") == "own-20260304050607"


def test_laboratories_are_folders_and_recorded_by_their_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = Arguments(data="own", shift_data="a, b/c", shift_report=str(tmp_path / "d"))
    assert given.shifted_data == ("a", "b/c")
    recorded = Arguments(**given.recorded())
    assert recorded.shifted_data == (str(tmp_path / "a"), str(tmp_path / "b/c"))
    assert recorded.reported_data == given.reported_data
    assert Arguments(data="own").recorded()["shift_data"] is None
    assert Arguments(data="own", shift_data="jtsc,s3://cells").recorded()["shift_data"] == "jtsc,s3://cells"


@pytest.mark.parametrize("option", ["shift_data", "shift_report"])
def test_an_empty_laboratory_is_refused(option):
    with pytest.raises(InputError, match=option.replace("_", "-")):
        Arguments(**{option: "a,,b"})


def test_a_laboratory_that_is_reported_on_is_not_chosen_by():
    with pytest.raises(InputError, match="--shift-report b"):
        Arguments(shift_data="a,b", shift_report="b,c")


def test_the_score_elsewhere_is_an_objective_where_there_is_an_elsewhere():
    names = "balanced_accuracy,shift_balanced_accuracy"
    assert Arguments(objectives=names, shift_data="a").objective_names == tuple(names.split(","))
    with pytest.raises(InputError, match="--shift-data"):
        Arguments(objectives=names)


def test_levels_are_not_compared_by_a_score_without_a_proven_interval():
    with pytest.raises(InputError, match="--metric auc"):
        Arguments(metric="auc")
    assert Arguments(objectives="balanced_accuracy,auc").objective_names == ("balanced_accuracy", "auc")
