"""Optuna's studies as other programs read them: Optuna itself, and its dashboard."""

import json
from wsgiref.util import setup_testing_defaults

import pytest
from optuna_dashboard import wsgi
from simulated_search import make_space

from search.tuning.optuna_journal import journal_storage

KINDS = {
    "shared": {},
    "own": {"space": make_space(settings="own")},
    "several objectives": {"several": True},
    "random": {"sampler": "random"},
}


@pytest.fixture(params=KINDS)
def search(make_search, request):
    return make_search("study", **KINDS[request.param]).run()


def trial_numbers(search):
    """The numbers of trials that Optuna's trials hold, by the Optuna study's name and the number there."""
    found = search.in_optuna()
    return {(name, each.number): each.user_attrs["trials"] for name, trials in found.items() for each in trials}


def test_trials_of_optuna_name_those_of_the_table(search):
    rows = search.table("trials").set_index("number")
    named = trial_numbers(search)
    assert sorted(n for numbers in named.values() for n in numbers.values()) == sorted(rows.index)
    for (study, number), numbers in named.items():
        assert tuple(numbers) == search.groups[study]
        assert rows.loc[list(numbers.values()), "level"].tolist() == list(numbers)
        if study == "settings":
            assert set(rows.loc[list(numbers.values()), "setting"]) == {number}
    for lost in (False, True):
        search.restart(journal_lost=lost)
        assert trial_numbers(search) == named


def test_optunas_dashboard_names_studies_and_values_as_the_project_does(search):
    app = wsgi(journal_storage(search.folder.optuna_journal))
    studies = get(app, "/api/studies")["study_summaries"]
    assert {each["study_name"] for each in studies} == set(search.groups)
    for each in studies:
        detail = get(app, f"/api/studies/{each['study_id']}")
        assert detail["objective_names"] == list(search.arguments.objective_names)
        shown = [attr for trial in detail["trials"] for attr in trial["user_attrs"] if attr["key"] == "trials"]
        assert len(shown) == len(detail["trials"]) > 0


def get(app, path):
    """The answer of a web application in this process."""
    asked = {"PATH_INFO": path}
    setup_testing_defaults(asked)
    status = []
    answer = b"".join(app(asked, lambda *given: status.append(given[0])))
    assert status == ["200 OK"]
    return json.loads(answer)
