from dataclasses import asdict
from pathlib import Path

import pytest
from made_studies import describe

from search.common.errors import InputError
from search.records.description import parse_description

FILE = Path("somewhere") / "study.json"


def parse(content):
    return parse_description(content, FILE)


def test_a_description_is_typed():
    content = describe(tested=True) | {"an entry": "of a later version"}
    description = parse(content)
    assert description.levels == tuple(content["levels"])
    assert description.plan.profile.input_px == tuple(content["plan"]["profile"]["input_px"])
    assert description.metric == content["arguments"]["metric"]
    assert (description.source[0], description.target[0]) == ("cells", "others")
    assert (description.winner, description.test) == (content["winner"], content["test"])
    assert parse(asdict(description)) == description


def test_an_older_study_has_defaults_for_what_it_lacks():
    content = describe()
    for entry in ("environment",):
        del content[entry]
    content["arguments"] = {"space": "residual_placement", "metric": "accuracy"}
    for entry in ("shares_settings", "compare_settings", "most_runs", "looks"):
        del content["plan"][entry]
    del content["data"]["others"]
    description = parse(content)
    assert description.is_older
    assert not parse(describe()).is_older
    assert (description.arguments.folds, description.plan.finalists) == (10, 1)
    assert (description.environment.commit, description.commands, description.forced) == (None, (), ())
    assert description.winner is description.test is description.target is description.time is None


def test_synthetic_images_are_recognised_as_source_and_as_target():
    content = describe()
    cells, others = content["data"].values()
    assert not parse(content).is_drawn
    for data in ({"synthetic": cells}, {"cells": cells, "synthetic target": others}):
        assert parse({**content, "data": data}).is_drawn


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("plan", "n_trials", "many"),
        ("plan", "profile", None),
        ("data", "cells", {"n_images": 3}),
        ("arguments", "metric", "beauty"),
        ("arguments", "space", 5),
    ],
)
def test_a_wrong_entry_is_named(part, name, value):
    content = describe()
    with pytest.raises(InputError) as caught:
        parse({**content, part: {**content[part], name: value}})
    assert str(FILE) in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["arguments", "levels", "reference", "plan", "data", "started"])
def test_a_missing_entry_is_named(name):
    content = describe()
    del content[name]
    with pytest.raises(InputError, match=name):
        parse(content)
