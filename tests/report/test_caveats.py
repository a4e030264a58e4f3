"""The limits that a page names."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.analysis.outcome import Outcome
from search.analysis.verdict import verdict
from search.records.arguments import Arguments
from search.records.description import DataSet, Description, Plan
from search.records.results import Results
from search.report.page.caveats import FEW_IMAGES, caveats
from search.space import Profile

PROFILE = Profile(
    width=0.25, epochs=12, transfer_epochs=12, input_px=(28,), lr=(0.1, 0.2), trials_per_level=3, search_folds=3
)


def images(grouped=True, **classes):
    counts = classes or {"basophil": 100, "neutrophil": 400}
    return DataSet(fingerprint="", n_images=sum(counts.values()), classes=counts, grouped=grouped)


def plan(**changes):
    usual = {"search_folds": 3, "folds": 10, "repeats": 1, "profile_name": "paper"}
    return Plan(n_trials=1, finalists=1, phases=(), profile=PROFILE, **{**usual, **changes})


def named(**changes):
    usual = {"plan": plan(), "data": {"cells": images()}, "finished": "2026-11-24T08:41:00+00:00"}
    constant = {"question": "", "factor": None, "levels": (), "reference": "", "origin": {}, "started": ""}
    arguments = Arguments(space="residual_placement")
    description = Description(arguments=arguments, phases_done=(), **{**constant, **usual, **changes})
    return caveats(Results(Path("study"), description, {}), None)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"data": {"synthetic": images()}}, "synthetic"),
        ({"data": {"cells": images(), "synthetic-2": images()}}, "synthetic"),
        ({"finished": None}, "interrupted"),
        ({"forced": ("torch is 3 and was 2",)}, "--force although torch is 3 and was 2."),
        ({"data": {"cells": images(grouped=False)}}, "No groups were given for cells:"),
        ({"data": {"a": images(False), "b": images(), "c": images(False)}}, "No groups were given for a and c:"),
        ({"test_scored": 2}, "scored 2 times"),
        ({"plan": plan(profile_name="quick")}, "0.25 times the paper's width, 28 px, 12 epochs"),
    ],
)
def test_what_a_study_lacks_is_one_line_more(changes, names):
    usual, lines = named(), named(**changes)
    (more,) = [line for line in lines if line not in usual]
    assert names in more
    assert [line for line in lines if line in usual] == usual


def test_the_most_serious_come_first():
    lines = named(data={"synthetic": images(basophil=20, neutrophil=400)}, finished=None, forced=("x",))
    words = ["synthetic", "interrupted", "--force", "few images of basophil (n = 16)", "partition"]
    assert all(word in line for word, line in zip(words, lines, strict=False))


@pytest.mark.parametrize("n", [5, 36, 37, 38])
def test_a_class_is_small_if_a_cell_moves_its_sensitivity(n):
    """A fifth of the source is locked, the target is used whole."""
    left = round(0.8 * n)
    small = [line for line in named(data={"cells": images(rare=n, common=400)}) if "few images" in line]
    assert len(small) == (left < FEW_IMAGES)
    assert all(f"rare (n = {left})" in line for line in small)
    target = named(data={"cells": images(), "others": images(a=n, b=n, c=FEW_IMAGES)})
    of_target = [line for line in target if "others has few images" in line]
    assert len(of_target) == (n < FEW_IMAGES)
    assert all(f"a (n = {n}) and b (n = {n})" in line for line in of_target)


def test_fewer_images_than_folds_are_named():
    def too_few(folds, **classes):
        return [line for line in named(data={"cells": images(**classes)}, plan=plan(**folds)) if "fewer" in line]

    assert "rare" in too_few({"folds": 9}, rare=10, scarce=11, common=400)[0]
    assert "scarce" not in too_few({"folds": 9}, rare=10, scarce=11, common=400)[0]
    assert too_few({"folds": 9}, rare=13, common=400) == []
    assert "50 folds" in too_few({"search_folds": 50}, rare=60, common=400)[0]


def of_kind(studies, kind, **changes):
    """The lines of a study with a comparison, and its verdict."""
    results = studies[kind]
    results = replace(results, description=replace(results.description, **changes))
    found = verdict(results)
    return caveats(results, found), found


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("open", "--control"),
        ("collapse", "At setting 1, networks collapsed and predict one class alone (3 in 10 of 10 folds)"),
        ("own", "complete trials: none 2, 1 2"),
    ],
)
def test_limits_of_the_comparison_are_named(studies, kind, names):
    assert sum(names in line for line in of_kind(studies, kind)[0]) == 1
    assert not any(names in line for line in of_kind(studies, "control")[0])


def test_a_control_that_fails_casts_doubt_on_all_others(studies):
    lines, found = of_kind(studies, "control")
    assert not any("control" in line for line in lines)
    failed = tuple(replace(f, outcome=Outcome.WORSE) if f.level == "control" else f for f in found.main)
    assert any("The control failed" in line for line in caveats(studies["control"], replace(found, main=failed)))


def test_looks_that_were_not_planned_are_counted(studies):
    lines, _ = of_kind(studies, "open", beyond_plan=True, looked_at=(2, 4))
    assert any("planned after 2 runs" in line and "looked at after 2 and 4" in line for line in lines)


@pytest.mark.parametrize("kind", ["open", "control", "own", "few", "plain", "one level"])
def test_the_verdict_is_not_repeated(studies, kind):
    lines, found = of_kind(studies, kind, beyond_plan=True)
    assert not {*lines} & {*found.warnings, *found.reasons}
