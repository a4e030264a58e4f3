"""Ray's and Optuna's dashboards, looked at as a person does while a study runs."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from browser import chromium
from live_study import live_study
from tiny_study import PATIENCE_S, table


@pytest.fixture(scope="module")
def study(cells, space, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard") / "where-blocks-belong"
    arguments = ("--space", space, "--data", cells, "--profile", "quick", "--trials", 8, "--repeats", 30)
    with live_study(*arguments, "--folds", 3, "--seed", 3, folder=folder) as study:
        study.wait_for(lambda: study.dashboard)
        yield study


@pytest.fixture(scope="module")
def page(study):
    """The dashboard in a browser, after its question for the token that a local Ray asks for."""
    token = subprocess.run(["ray", "get-auth-token"], capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1800, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(study.dashboard)
        page.get_by_role("dialog").locator("input").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for(state="hidden")
        yield page


@pytest.mark.ray
def test_the_table_of_jobs_names_the_study(study, page, shots):
    page.goto(f"{study.dashboard}/#/jobs")
    page.get_by_role("cell", name=study.folder.name).first.wait_for()
    shots(page, "jobs")


@pytest.mark.ray
def test_the_table_of_actors_names_trials(study, page, shots):
    study.wait_for(lambda: (study.folder / "epochs.parquet").exists() and len(table(study.folder, "epochs")))
    page.goto(f"{study.dashboard}/#/actors")
    page.get_by_role("cell", name=re.compile(r"from trial \d+, placement ")).first.wait_for()
    shots(page, "actors")


@pytest.mark.ray
def test_tasks_of_later_phases_bear_the_names_of_their_trainings(study, page, shots):
    done = lambda: json.loads((study.folder / "study.json").read_text())["phases_done"]  # noqa: E731
    study.wait_for(lambda: "search" in done())
    page.goto(f"{study.dashboard}/#/jobs/01000000")
    page.get_by_text(re.compile(r"^compare .*, fold \d")).first.wait_for()
    shots(page, "tasks")


@pytest.mark.ray
def test_optunas_dashboard_serves_the_searches_of_all_levels(study):
    study.wait_for(lambda: len(table(study.folder, "trials")))
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [program, study.folder / "optuna.journal", "--port", "18765"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        try:
            answer = get("http://127.0.0.1:18765/api/studies")
        finally:
            served.terminate()
    names = {each["study_name"] for each in answer["study_summaries"]}
    assert names == {"level none", "level 1"}


def get(address):
    """What a server answers, once it stands."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return json.loads(urlopen(address, timeout=30).read())
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.3)


@pytest.fixture
def shots(tmp_path):
    return lambda page, name: page.screenshot(path=Path("/tmp/shots") / f"dashboard-{name}.png")
