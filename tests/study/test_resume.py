"""Tests of search.study.resume: which arguments hold, what may have changed, and what begins anew."""

import json
import os
from dataclasses import asdict, replace

import numpy as np
import pytest

import search.records.studyfolder
from search.common.errors import InputError
from search.data.imageset import ImageSet
from search.records.arguments import Arguments
from search.records.ledger import Ledger
from search.records.schema import Key
from search.records.studyfolder import StudyFolder
from search.space import PAPER_PROFILE, QUICK_PROFILES, Configuration, Profile, Space, TrainingConfig
from search.study.context import _identity
from search.study.plan import Request, make_plan
from search.study.resume import (
    Extension,
    arguments_to_go_on,
    as_json,
    begin_unfinished_anew,
    other_images,
    profile_of,
    refuse,
    reopen,
)
from wbcmodels.config import ModelConfig


def configure(suggest, level, profile):
    return Configuration(
        model=ModelConfig(placement=level, width=profile.width, input_px=max(profile.input_px)),
        training=TrainingConfig(epochs=profile.epochs, lr=suggest.suggest_float("lr", *profile.lr, log=True)),
    )


SPACE = Space(question="?", configure=configure, levels=("none", "1"))
PROFILES = (PAPER_PROFILE, *QUICK_PROFILES)


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
            n_target=None,
            n_trials=arguments.trials,
            search_folds=arguments.search_folds,
            finalists=arguments.finalists,
            folds=arguments.folds,
            repeats=arguments.repeats,
            profile=profile,
        ),
    )


@pytest.fixture
def make_folder(tmp_path):
    """Makes a study's folder, opened again as another process opens it."""

    def make(*, finished=False, **given):
        arguments = Arguments(space="own.py", **given)
        description = {"arguments": asdict(arguments), "plan": asdict(plan_of(arguments)), "levels": SPACE.levels}
        folder = StudyFolder.create(tmp_path / "study", description)
        if finished:
            folder.update(phases_done=["search", "compare", "test"], finished="2026-03-04T05:06:07+00:00")
        return StudyFolder.open(tmp_path / "study")

    return make


# Arguments


@pytest.mark.parametrize("profile", ["auto", "quick", "paper"])
@pytest.mark.parametrize("extension", [Extension(), Extension(trials=9, repeats=2)], ids=str)
def test_an_unfinished_study_goes_on_with_its_arguments(make_folder, profile, extension):
    given = {"trials": 9, "repeats": 2, "seed": 5, "metric": "accuracy", "finalists": 2, "profile": profile}
    folder = make_folder(**given)
    before = json.dumps(folder.description)
    # Nine trials of two levels are ten; what `auto` came to here holds on any machine.
    came_to = {"auto": "quick"}.get(profile, profile)
    if extension.trials is not None:
        extension = replace(extension, trials=10)
        given["trials"] = 10
    assert arguments_to_go_on(folder, extension) == Arguments(space="own.py", **given | {"profile": came_to})
    assert json.dumps(folder.description) == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("trials", "repeats"), [(9, None), (11, None), (None, 3), (64, 9), (8, 3), (9, 2)], ids=str
)
def test_more_extends_a_study_finished_or_not(make_folder, finished, trials, repeats):
    folder = make_folder(trials=8, repeats=2, seed=3, finished=finished)
    arguments = arguments_to_go_on(folder, Extension(trials=trials, repeats=repeats))
    assert arguments == Arguments(
        space="own.py", trials=trials or 8, repeats=repeats or 2, seed=3, profile="quick"
    )
    plan = plan_of(arguments, profile_of(folder.description, SPACE))
    assert plan.n_trials >= 8
    assert plan.repeats >= 2
    assert as_json(asdict(plan)) != folder.description["plan"]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("extension", "named"),
    [
        (Extension(trials=6), "--trials 6: the study has 8 already"),
        (Extension(trials=6, repeats=9), "--trials 6: the study has 8 already"),
        (Extension(repeats=1), "--repeats 1: the study has 2 already"),
        (Extension(trials=9, repeats=1), "--repeats 1: the study has 2 already"),
        (Extension(trials=0), "--trials 0: the study has 8 already"),
    ],
    ids=str,
)
def test_less_than_there_is_is_refused(make_folder, finished, extension, named):
    with pytest.raises(InputError) as caught:
        arguments_to_go_on(make_folder(trials=8, repeats=2, finished=finished), extension)
    assert str(caught.value) == named


def test_trials_count_as_they_were_planned(make_folder):
    # Seven were asked for, which is no multiple of two.
    folder = make_folder(trials=7)
    with pytest.raises(InputError, match="has 8 already"):
        arguments_to_go_on(folder, Extension(trials=6))
    assert arguments_to_go_on(folder, Extension(trials=7)).trials == 7
    assert arguments_to_go_on(folder, Extension()).trials == 7
    assert arguments_to_go_on(folder, Extension(trials=8)).trials == 8


@pytest.mark.parametrize("extension", [Extension(), Extension(trials=8), Extension(trials=8, repeats=2)], ids=str)
def test_a_finished_study_needs_more_to_go_on(make_folder, extension):
    folder = make_folder(trials=8, repeats=2, finished=True)
    with pytest.raises(InputError) as caught:
        arguments_to_go_on(folder, extension)
    assert str(caught.value).startswith(f"{folder.path}: this study is finished")


# The profile


@pytest.mark.parametrize("profile", PROFILES)
def test_the_planned_profile_is_found_after_json(profile):
    plan = plan_of(Arguments(space="own.py"), profile)
    description = json.loads(json.dumps({"plan": asdict(plan)}))
    found = profile_of(description, SPACE)
    assert found is profile
    assert plan_of(Arguments(space="own.py"), found) == plan


def test_a_profile_that_the_space_has_no_more_is_not_found():
    plan = plan_of(Arguments(space="own.py"), replace(PAPER_PROFILE, epochs=41))
    assert profile_of(as_json({"plan": asdict(plan)}), SPACE) is None
    others = replace(SPACE, quick=QUICK_PROFILES[1:])
    plan = plan_of(Arguments(space="own.py"), QUICK_PROFILES[0])
    assert profile_of(as_json({"plan": asdict(plan)}), others) is None


@pytest.mark.parametrize("field", Profile.__dataclass_fields__)
def test_every_value_of_a_profile_counts(field):
    planned = as_json(asdict(QUICK_PROFILES[0]))
    planned[field] = [*planned[field], 7] if isinstance(planned[field], list) else planned[field] + 1
    assert profile_of({"plan": {"profile": planned}}, SPACE) is None


def test_as_json_is_what_a_file_gives_back(tmp_path):
    value = {"a": (1, 2.5, None), "b": {"c": True}, "d": tmp_path}
    (tmp_path / "x.json").write_text(json.dumps(value, default=str))
    assert as_json(value) == json.loads((tmp_path / "x.json").read_text())
    assert as_json(as_json(value)) == as_json(value)


# Changes


def test_changes_are_refused_unless_forced(make_folder):
    folder = make_folder()
    changes = ["torch is 3 and was 2", "the space's file is another"]
    with pytest.raises(InputError) as caught:
        refuse(folder, changes, force=False)
    for word in (str(folder.path), *changes, "--force"):
        assert word in str(caught.value)
    refuse(folder, changes, force=True)
    refuse(folder, [], force=False)


def images(source="cells", fingerprint="abc"):
    return ImageSet(
        source=source,
        classes=("a",),
        names=("a.png",),
        labels=np.zeros(1, np.int64),
        pixels={},
        fingerprint=fingerprint,
    )


def test_other_images_are_told_by_name_and_fingerprint():
    description = {"data": {"cells": {"fingerprint": "abc"}, "more": {"fingerprint": "def"}}}
    assert not other_images(description, images())
    assert not other_images(description, images("more", "def"))
    assert not other_images(description, None)
    assert other_images(description, images(fingerprint="abd"))
    assert other_images(description, images("more"))
    assert other_images(description, images("unheard of"))


# Beginning anew


def train(ledger, key, *, ended):
    ledger.add("epochs", asdict(key), {"epoch": [1, 2], "lr": [0.1, 0.1]})
    if ended:
        ledger.add("predictions", asdict(key), {"image": ["a"], "label": ["a"], "predicted": ["a"]})
        ledger.add_row("folds", asdict(key), {"n_train": 1})


def trial(number):
    return Key(phase="search", number=number, level=SPACE.levels[number % 2], data="cells", seed=0)


def test_unfinished_trials_begin_anew_and_finished_ones_stay(make_folder):
    folder = make_folder()
    ledger = Ledger(folder.path)
    for number in range(5):
        for fold in range(2):
            train(ledger, replace(trial(number), repeat=0, fold=fold), ended=number < 4 or fold == 0)
        folder.checkpoints.keep(trial(number), b"x")
    for number, state in enumerate(("COMPLETE", "PRUNED", "FAIL")):
        ledger.add_row("trials", asdict(trial(number)), {"state": state})
    ledger.add_row("trials", asdict(trial(9)), {"state": "FAIL"})  # it made no network, and has no epochs
    compared = Key(phase="compare", level="1", settings="tuned", data="cells", repeat=0, seed=1, fold=0)
    confirmed = Key(phase="confirm", number=4, level="none", data="cells", repeat=0, seed=1, fold=0)
    for key in (compared, confirmed):
        train(ledger, key, ended=True)
        folder.checkpoints.keep(key, b"x")
    folder.optuna_journal.write_text("{}\n")
    others = folder.path / "model"
    others.mkdir()

    begin_unfinished_anew(folder, ledger)
    assert list((folder.path / "checkpoints").iterdir()) == []
    assert not folder.optuna_journal.exists()
    assert others.exists()
    for name in ("epochs", "folds", "predictions"):
        rows = ledger.read(name).to_pylist()
        assert {row["number"] for row in rows if row["phase"] == "search"} == {0, 1, 2}
        assert {row["phase"] for row in rows} == {"search", "compare", "confirm"}
    assert sorted(ledger.read("trials")["number"].to_pylist()) == [0, 1, 2, 9]

    left = {name: ledger.read(name).to_pylist() for name in ("epochs", "folds", "predictions")}
    ledger.close()
    again = Ledger(folder.path)
    assert {name: again.read(name).to_pylist() for name in left} == left
    before = (folder.path / "journal.jsonl").read_bytes()
    begin_unfinished_anew(folder, again)
    assert (folder.path / "journal.jsonl").read_bytes() == before
    again.close()


def test_a_study_that_has_just_begun_has_nothing_to_drop(make_folder):
    folder = make_folder()
    ledger = Ledger(folder.path)
    begin_unfinished_anew(folder, ledger)
    assert ledger.read("epochs").num_rows == 0
    ledger.close()


def test_trainings_that_are_on_record_are_told_apart():
    # Those of two finalists of a level differ in their number alone.
    fold = Key(phase="compare", level="1", settings="tuned", way="scratch", data="cells", repeat=0, fold=0)
    others = {"phase": "test", "level": "2", "settings": "equal", "way": "frozen", "data": "x", "fold": 1}
    keys = [fold, *(replace(fold, **{name: value}) for name, value in others.items())]
    keys += [Key(phase="confirm", number=number, level="1", data="cells", repeat=0, fold=0) for number in (1, 3)]
    assert len({_identity(asdict(key)) for key in keys}) == len(keys)


# Reopening


def test_a_reopened_study_has_every_phase_before_it(make_folder):
    folder = make_folder(trials=8, finished=True)
    folder.update(winner={"level": "1"}, subjects={"compare": []})
    arguments = arguments_to_go_on(folder, Extension(trials=12))
    description = as_json(
        {"arguments": asdict(arguments), "plan": asdict(plan_of(arguments)), "levels": ["none", "1"]}
    )
    reopen(folder, description, [])
    for found in (folder.description, StudyFolder.open(folder.path).description):
        assert found["phases_done"] == []
        assert "finished" not in found
        assert "forced" not in found
        assert found["plan"]["n_trials"] == 12
        assert found["arguments"]["trials"] == 12
        assert found["winner"] == {"level": "1"}
        assert found["subjects"] == {"compare": []}
        assert found["started"]
    # It can be stopped and resumed as any other, and extended once more.
    assert arguments_to_go_on(StudyFolder.open(folder.path), Extension()) == arguments
    assert arguments_to_go_on(StudyFolder.open(folder.path), Extension(repeats=2)).trials == 12


def test_forced_changes_stay_on_record(make_folder):
    folder = make_folder(finished=True)
    reopen(folder, {}, ["torch is 3 and was 2"])
    reopen(folder, {}, [])
    reopen(folder, {}, ["the program's code is another", "numpy is 3 and was 2"])
    assert StudyFolder.open(folder.path).description["forced"] == [
        "torch is 3 and was 2",
        "the program's code is another",
        "numpy is 3 and was 2",
    ]
