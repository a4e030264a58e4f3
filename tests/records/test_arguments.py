import dataclasses
import math

import numpy as np
import pytest

from search.common.errors import InputError
from search.common.metrics import METRIC_NAMES
from search.records.arguments import (
    COSTS,
    METRICS,
    PRUNERS,
    SAMPLERS,
    Arguments,
    Resources,
    at_least,
    one_of,
    parse_duration,
    study_name,
)


def refused(make, **values):
    with pytest.raises(InputError) as caught:
        make(**values)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("1h1m1s", 3661), ("0.5s", 0.5), ("0h1s", 1)],
)
def test_durations(text, seconds):
    assert parse_duration("--time-budget", text) == seconds
    assert Arguments(space="x", time_budget=text).time_budget_s == seconds
    assert Resources(trial_timeout=text).trial_timeout_s == seconds


@pytest.mark.parametrize("seed", range(20))
def test_durations_add_up(seed):
    h, m, s = np.random.default_rng(seed).integers(1, 100, 3)
    whole = parse_duration("--x", f"{h}h{m}m{s}s")
    assert whole == sum(parse_duration("--x", part) for part in (f"{h}h", f"{m}m", f"{s}s"))
    assert whole == 3600 * h + 60 * m + s


@pytest.mark.parametrize(
    "text",
    ["", "30", "m", "30 m", " 30m", "30m ", "-5m", "1d", "1h30", "0s", "0h0m", "1e3s", ".5h", "1.h", "nan", "1M"],
)
def test_bad_duration_names_flag_and_value(text):
    assert refused(Arguments, space="x", time_budget=text).startswith(f"--time-budget {text}:")
    assert refused(Resources, trial_timeout=text).startswith(f"--trial-timeout {text}:")


def test_no_budget_and_no_timeout():
    assert Arguments(space="x").time_budget_s is None
    assert Resources().trial_timeout_s is None


@pytest.mark.parametrize(
    ("field", "flag", "value"),
    [
        ("trials", "--trials", 0),
        ("trials", "--trials", -3),
        ("search_folds", "--search-folds", 1),
        ("folds", "--folds", 1),
        ("folds", "--folds", 0),
        ("repeats", "--repeats", 0),
        ("seed", "--seed", -1),
        ("profile", "--profile", "Paper"),
        ("profile", "--profile", ""),
        ("metric", "--metric", "log_loss"),
        ("metric", "--metric", "sensitivity"),
        ("class_names", "--class-names", "1"),
        ("sampler", "--sampler", "TPE"),
        ("sampler", "--sampler", ""),
        ("pruner", "--pruner", "hyperband"),
        ("pruner", "--pruner", "None"),
        ("finalists", "--finalists", 0),
        ("finalists", "--finalists", -2),
    ],
)
def test_bad_argument_names_flag_and_value(field, flag, value):
    assert refused(Arguments, space="x", **{field: value}).startswith(f"{flag} {value}:")


@pytest.mark.parametrize(
    ("field", "flag", "value"),
    [
        ("gpus_per_trial", "--gpus-per-trial", -0.5),
        ("gpus_per_trial", "--gpus-per-trial", math.nan),
        ("cpus_per_trial", "--cpus-per-trial", 0),
        ("max_concurrent", "--max-concurrent", 0),
    ],
)
def test_bad_resource_names_flag_and_value(field, flag, value):
    assert refused(Resources, **{field: value}).startswith(f"{flag} {value}:")


def test_least_values_are_good():
    Arguments(space="x", trials=1, search_folds=2, folds=2, repeats=1, seed=0, finalists=1)
    Resources(gpus_per_trial=0, cpus_per_trial=1, max_concurrent=1)
    at_least("--x", None, 1)


def test_choices_are_listed():
    with pytest.raises(InputError, match=r"^--x c: it must be one of a, b$"):
        one_of("--x", "c", ("a", "b"))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_every_headline_metric_can_be_searched_for(metric):
    arguments = Arguments(space="x", metric=metric)
    assert arguments.metric == metric in METRICS
    assert arguments.objective_names == (metric,)
    assert set(METRICS) <= set(METRIC_NAMES)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_sampler_goes_with_every_pruner(sampler, pruner):
    arguments = Arguments(space="x", sampler=sampler, pruner=pruner)
    assert (arguments.sampler, arguments.pruner) == (sampler, pruner)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("others", [*COSTS, ",".join(COSTS), " macs , n_parameters "])
def test_objectives_are_the_metric_and_others(metric, others):
    names = Arguments(space="x", metric=metric, objectives=f"{metric},{others}").objective_names
    assert names == (metric, *(name.strip() for name in others.split(",")))
    assert Arguments(space="x", metric=metric, objectives=metric).objective_names == (metric,)


def test_a_second_metric_can_be_an_objective():
    names = Arguments(space="x", objectives="balanced_accuracy,macro_f1,macs").objective_names
    assert names == ("balanced_accuracy", "macro_f1", "macs")


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        ("", ": it must be one of"),
        ("balanced_accuracy,", ": it must be one of"),
        ("balanced_accuracy,latency_ms", "latency_ms: it must be one of"),
        ("balanced_accuracy,log_loss", "log_loss: it must be one of"),
        ("balanced_accuracy;macs", "balanced_accuracy;macs: it must be one of"),
        ("Balanced_Accuracy", "Balanced_Accuracy: it must be one of"),
        ("macs,balanced_accuracy", "the first must be --metric, balanced_accuracy"),
        ("accuracy,macs", "the first must be --metric, balanced_accuracy"),
        ("macs", "the first must be --metric, balanced_accuracy"),
        ("balanced_accuracy,macs,macs", "one stands there twice"),
        ("balanced_accuracy,balanced_accuracy", "one stands there twice"),
    ],
)
def test_bad_objectives_say_what_is_wrong(objectives, said):
    message = refused(Arguments, space="x", objectives=objectives)
    assert message.startswith("--objectives ")
    assert said in message


def test_arguments_survive_being_written_down():
    arguments = Arguments(
        space="x",
        trials=9,
        time_budget="1h",
        class_names="0=a,1=b",
        skip_bad=True,
        objectives="balanced_accuracy,macs",
        sampler="nsga2",
        pruner="none",
        finalists=2,
    )
    assert Arguments(**dataclasses.asdict(arguments)) == arguments


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1=neutrophil", {"1": "neutrophil"}),
        ("1=a,2=b", {"1": "a", "2": "b"}),
        (" 1 = a , 2 = b c ", {"1": "a", "2": "b c"}),
        ("x=a,y=a", {"x": "a", "y": "a"}),
        ("1=a=b", {"1": "a=b"}),
    ],
)
def test_class_names(text, names):
    assert Arguments(space="x", class_names=text).class_name_of == names


def test_no_class_names():
    assert Arguments(space="x").class_name_of is None


@pytest.mark.parametrize("text", ["", "1", "1=", "=a", "1=a,", ",1=a", "1=a,,2=b", "1:a", "1=a,1=b", " = "])
def test_bad_class_names_name_flag_and_value(text):
    assert refused(Arguments, space="x", class_names=text).startswith(f"--class-names {text}:")


def test_study_name_says_space_and_start():
    assert study_name("residual_placement", "2026-03-04T05:06:07+00:00") == "residual_placement-20260304050607"
    assert study_name("somewhere/own.py", "2026-03-04T05:06:07+00:00") == "own-20260304050607"
