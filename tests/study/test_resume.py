"""A resumed study keeps its arguments and finished work, refuses changes, and can be extended."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import search.records.studyfolder
from search.common.errors import InputError
from search.data.imageset import ImageSet
from search.records.arguments import PLACES, Arguments, Extension
from search.records.ledger import Ledger
from search.records.schema import Key
from search.records.studyfolder import StudyFolder
from search.space import PAPER_PROFILE, QUICK_PROFILES, Configuration, Profile, Space, TrainingConfig
from search.study.context import _identity
from search.study.plan import Request, make_plan
from search.study.resume import (
    as_json,
    discard_unfinished,
    has_changed,
    moved,
    named_as_before,
    planned_profile,
    refuse_changes,
    refuse_missing,
    reopen,
    resumed_arguments,
)
from wbcmodels.config import ModelConfig


def configure(suggest, level, profile):
    return Configuration(
        model=ModelConfig(placement=level, width=profile.width, input_px=max(profile.input_px)),
        training=TrainingConfig(epochs=profile.epochs, lr=suggest.suggest_float("lr", *profile.lr, log=True)),
    )


SPACE = Space(question="?", configure=configure, levels=("none", "1"))


ARGUMENTS_OF_FOUR = Arguments(space="own.py", until_settled="4")


@pytest.fixture(autouse=True)
def _no_lookups(monkeypatch):
    """Versions and commit have tests of their own, and no power fails while these run."""
    monkeypatch.setattr(search.records.studyfolder, "environment", lambda: {"python": "3"})
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def plan_of(arguments, profile=None):
    return make_plan(
        SPACE,
        Request(
            profile_name="paper" if arguments.profile == "paper" else "quick",
            synthetic=True,
            n_images=400,
            n_classes=5,
            n_target=None,
            n_trials=arguments.trials,
            search_folds=arguments.search_folds,
            finalists=arguments.finalists,
            compare_settings=arguments.compare_settings,
            folds=arguments.folds,
            repeats=arguments.repeats,
            most_runs=None if arguments.until_settled is None else arguments.most_runs,
            control=arguments.control,
            profile=profile,
        ),
    )


@pytest.fixture
def make_folder(tmp_path):
    """Makes a study's folder, and opens it as another process would."""

    def make(*, finished=False, **given):
        arguments = Arguments(space="own.py", **given)
        description = {
            "arguments": arguments.recorded(),
            "plan": asdict(plan_of(arguments)),
            "levels": SPACE.levels,
        }
        folder = StudyFolder.create(tmp_path / "study", description)
        if finished:
            folder.update(phases_done=["search", "compare", "test"], finished="2026-03-04T05:06:07+00:00")
        return StudyFolder.open(tmp_path / "study")

    return make


@pytest.mark.parametrize("profile", ["auto", "quick", "paper"])
def test_an_unfinished_study_keeps_its_arguments(make_folder, profile):
    given = {"trials": 9, "repeats": 2, "seed": 5, "metric": "accuracy", "finalists": 2, "profile": profile}
    folder = make_folder(**given)
    before = json.dumps(folder.description)
    began_with = Arguments(**folder.description["arguments"])
    # What "auto" chose here holds on any machine.
    expected = replace(began_with, profile="paper" if profile == "paper" else "quick")
    assert resumed_arguments(folder, Extension()) == expected
    assert resumed_arguments(folder, Extension(trials=10, repeats=2)) == replace(expected, trials=10)
    assert json.dumps(folder.description) == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(("trials", "repeats"), [(9, None), (None, 3), (64, 9), (8, 3)])
def test_a_study_can_be_extended_finished_or_not(make_folder, finished, trials, repeats):
    folder = make_folder(trials=8, repeats=2, seed=3, finished=finished)
    arguments = resumed_arguments(folder, Extension(trials=trials, repeats=repeats))
    assert (arguments.trials, arguments.repeats, arguments.seed) == (trials or 8, repeats or 2, 3)
    plan = plan_of(arguments, planned_profile(folder.description, SPACE))
    assert as_json(asdict(plan)) != folder.description["plan"]


def test_more_runs_than_planned_are_noted_once_the_last_planned_look_is_taken(make_folder):
    folder = make_folder(until_settled="4", finished=True)
    with pytest.raises(InputError, match="--until-settled 2"):
        resumed_arguments(folder, Extension(until_settled="2"))
    arguments = resumed_arguments(folder, Extension(until_settled="6"))
    assert arguments.most_runs == 6
    for extended, beyond in ((arguments, True), (Arguments(**folder.description["arguments"]), False)):
        folder.description.pop("beyond_plan", None)
        folder.update(phases_done=["search", "compare", "test"], plan=as_json(asdict(plan_of(ARGUMENTS_OF_FOUR))))
        reopen(folder, as_json({"plan": asdict(plan_of(extended))}), [])
        assert folder.description.get("beyond_plan", False) == beyond


def test_a_study_of_an_earlier_version_is_not_resumed(make_folder):
    folder = make_folder()
    del folder.description["plan"]["compare_settings"]
    with pytest.raises(InputError, match="earlier version"):
        resumed_arguments(folder, Extension())


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("extension", "named"),
    [
        (Extension(trials=6), ("--trials 6", "8")),
        (Extension(trials=6, repeats=9), ("--trials 6", "8")),
        (Extension(trials=9, repeats=1), ("--repeats 1", "2")),
    ],
    ids=str,
)
def test_a_study_cannot_be_shortened(make_folder, finished, extension, named):
    with pytest.raises(InputError) as caught:
        resumed_arguments(make_folder(trials=8, repeats=2, finished=finished), extension)
    assert all(word in str(caught.value) for word in named)


def test_trials_count_as_planned(make_folder):
    # Seven were requested, and two levels make that eight.
    folder = make_folder(trials=7)
    with pytest.raises(InputError, match="8"):
        resumed_arguments(folder, Extension(trials=6))
    for trials in (7, 8):
        assert resumed_arguments(folder, Extension(trials=trials)).trials == trials


@pytest.mark.parametrize("extension", [Extension(), Extension(trials=8, repeats=2)], ids=str)
def test_a_finished_study_needs_an_extension(make_folder, extension):
    folder = make_folder(trials=8, repeats=2, finished=True)
    with pytest.raises(InputError, match="--trials") as caught:
        resumed_arguments(folder, extension)
    assert str(folder.path) in str(caught.value)


@pytest.mark.parametrize("profile", [PAPER_PROFILE, *QUICK_PROFILES])
def test_a_study_keeps_its_profile_which_is_the_spaces_own_if_all_values_agree(profile):
    planned = as_json({"plan": asdict(plan_of(Arguments(space="own.py"), profile))})
    assert planned_profile(planned, SPACE) is profile
    for field in Profile.__dataclass_fields__:
        value = planned["plan"]["profile"][field]
        other = [*value, 7] if isinstance(value, list) else "muon" if isinstance(value, str) else value + 1
        kept = planned_profile({"plan": {"profile": planned["plan"]["profile"] | {field: other}}}, SPACE)
        assert as_json(asdict(kept)) == planned["plan"]["profile"] | {field: other}


def test_the_profile_of_a_study_that_knew_of_no_optimizer_is_found():
    profile = QUICK_PROFILES[2]
    planned = as_json({"plan": asdict(plan_of(Arguments(space="own.py"), profile))})
    del planned["plan"]["profile"]["optimizer"], planned["plan"]["profile"]["batch_size"]
    assert planned_profile(planned, SPACE) is profile


def test_changes_are_refused_unless_forced(make_folder):
    folder = make_folder()
    with pytest.raises(InputError) as caught:
        refuse_changes(folder, ["torch has changed", "numpy has changed"], force=False)
    for word in (str(folder.path), "torch", "numpy", "--force"):
        assert word in str(caught.value)
    refuse_changes(folder, ["torch has changed"], force=True)
    refuse_changes(folder, [], force=False)


def test_changed_images_are_found_by_name_and_fingerprint():
    def images(source, fingerprint):
        labels = np.zeros(1, np.int64)
        return ImageSet(
            source=source, classes=("a",), names=("a",), labels=labels, pixels={}, fingerprint=fingerprint
        )

    description = {"data": {"cells": {"fingerprint": "abc"}, "more": {"fingerprint": "def"}}}
    assert not has_changed(images("cells", "abc"), description)
    assert has_changed(images("cells", "def"), description)
    assert has_changed(images("others", "abc"), description)


def test_images_that_were_moved_keep_their_name():
    images = ImageSet(source="new", classes=(), names=(), labels=np.array([]), pixels={}, fingerprint="f")
    data = {"old": {"fingerprint": "f", "role": "source"}, "old-target": {"fingerprint": "f", "role": "target"}}
    for role, name in (("source", "old"), ("target", "old-target"), ("shift", "new")):
        assert named_as_before({"data": data}, images, role).source == name
    changed = replace(images, fingerprint="g")
    assert named_as_before({"data": data}, changed, "source") == changed


def test_where_the_files_are_now_is_no_extension(make_folder):
    folder = make_folder(data="/old")
    arguments = resumed_arguments(folder, Extension(data="/new", transfer_data="/other"))
    assert (arguments.data, arguments.transfer_data) == ("/new", "/other")
    assert moved(arguments, Extension(data="/new")) == {"data": "/new"}
    here = Path.cwd()
    for name in PLACES:
        file = {"space": "mine.py", "groups": "g.csv", "transfer_groups": "g.csv"}.get(name, "cells/new")
        extension = Extension(**{name: file})
        assert moved(resumed_arguments(folder, extension), extension) == {name: str(here / file)}
    assert moved(arguments, Extension(trials=8)) == {}
    folder.update(phases_done=["search", "compare", "test"], finished="2026-03-04T05:06:07+00:00")
    with pytest.raises(InputError):
        resumed_arguments(folder, Extension(data="/new"))


def train(ledger, key, *, ended):
    ledger.add("epochs", asdict(key), {"epoch": [1, 2], "lr": [0.1, 0.1]})
    if ended:
        ledger.add("predictions", asdict(key), {"image": ["a"], "label": ["a"], "predicted": ["a"]})
        ledger.add_row("folds", asdict(key), {"n_train": 1})


def trial(number):
    return Key(phase="search", number=number, level=SPACE.levels[number % 2], data="cells", seed=0)


def test_unfinished_trials_start_over_and_finished_ones_stay(make_folder):
    folder = make_folder()
    ledger = Ledger(folder.path)
    discard_unfinished(folder, ledger)  # nothing to discard yet
    for number in range(5):
        for fold in range(2):
            train(ledger, replace(trial(number), repeat=0, fold=fold), ended=number < 4 or fold == 0)
        folder.checkpoints.keep(trial(number), b"x")
    for number, state in enumerate(("COMPLETE", "PRUNED", "FAIL")):
        ledger.add_row("trials", asdict(trial(number)), {"state": state})
    ledger.add_row("trials", asdict(trial(9)), {"state": "FAIL"})  # made no network, and has no epochs
    compared = Key(phase="compare", level="1", setting=0, data="cells", repeat=0, seed=1, fold=0)
    confirmed = Key(phase="confirm", number=4, level="none", data="cells", repeat=0, seed=1, fold=0)
    for key in (compared, confirmed):
        train(ledger, key, ended=True)
        folder.checkpoints.keep(key, b"x")
    folder.optuna_journal.write_text("{}\n")

    discard_unfinished(folder, ledger)
    assert list((folder.path / "checkpoints").iterdir()) == []
    assert not folder.optuna_journal.exists()
    for name in ("epochs", "folds", "predictions"):
        rows = ledger.read(name).to_pylist()
        assert {row["number"] for row in rows if row["phase"] == "search"} == {0, 1, 2}
        assert {row["phase"] for row in rows} == {"search", "compare", "confirm"}
    assert sorted(ledger.read("trials")["number"].to_pylist()) == [0, 1, 2, 9]
    ledger.close()

    again = Ledger(folder.path)
    before = (folder.path / "journal.jsonl").read_bytes()
    discard_unfinished(folder, again)
    assert (folder.path / "journal.jsonl").read_bytes() == before
    again.close()


def test_recorded_trainings_are_told_apart():
    # Those of two finalists of a level differ only in their number.
    fold = Key(phase="compare", level="1", setting=0, way="scratch", data="cells", repeat=0, fold=0)
    others = {"phase": "test", "level": "2", "setting": 1, "way": "frozen", "data": "x", "fold": 1}
    keys = [fold, *(replace(fold, **{name: value}) for name, value in others.items())]
    keys += [Key(phase="confirm", number=number, level="1", data="cells", repeat=0, fold=0) for number in (1, 3)]
    assert len({_identity(asdict(key)) for key in keys}) == len(keys)


def test_a_reopened_study_runs_every_phase_again(make_folder):
    folder = make_folder(trials=8, finished=True)
    folder.update(winner={"level": "1"})
    arguments = resumed_arguments(folder, Extension(trials=12))
    reopen(folder, as_json({"arguments": asdict(arguments), "plan": asdict(plan_of(arguments))}), [])
    found = StudyFolder.open(folder.path).description
    assert found == as_json(folder.description)
    assert found["phases_done"] == []
    assert not found.keys() & {"finished", "forced"}
    assert found["plan"]["n_trials"] == found["arguments"]["trials"] == 12
    assert found["winner"] == {"level": "1"}
    # It can be resumed and extended like any other.
    assert resumed_arguments(StudyFolder.open(folder.path), Extension(repeats=2)) == replace(arguments, repeats=2)


def test_forced_changes_accumulate(make_folder):
    folder = make_folder(finished=True)
    for changes in (["torch"], [], ["code", "numpy"]):
        reopen(folder, {}, changes)
    assert StudyFolder.open(folder.path).description["forced"] == ["torch", "code", "numpy"]


def test_no_data_set_of_a_study_may_be_left_out(make_folder):
    folder = make_folder()
    roles = ("source", "target", "shift", "shift")
    folder.update(data={f"cells {number}": {"role": role} for number, role in enumerate(roles)})
    refuse_missing(folder, roles)
    for given in (("source", "shift", "shift"), ("source", "target", "shift")):
        with pytest.raises(InputError, match="cells"):
            refuse_missing(folder, given)
    folder.update(data={"cells of an earlier version": {"fingerprint": "f"}})
    refuse_missing(folder, roles[:1])
