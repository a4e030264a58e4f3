"""Ray's and Optuna's dashboards, looked at as a person does while a study runs."""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from browser import chromium
from live_study import live_study
from playwright.sync_api import TimeoutError
from tiny_study import PATIENCE_S, table

PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def study(cells, space, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard") / "where-blocks-belong"
    arguments = ("--space", space, "--data", cells, "--profile", "quick", "--trials", 8, "--repeats", 300)
    with live_study(*arguments, "--folds", 3, "--seed", 3, folder=folder) as study:
        study.wait_for(lambda: study.dashboard)
        yield study


@pytest.fixture(scope="module")
def page(study):
    """The dashboard in a browser, after its question for the token that a local Ray asks for."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1800, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(study.dashboard)
        page.get_by_role("dialog").locator("input").fill(token())
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for(state="hidden")
        yield page


@pytest.mark.ray
def test_the_table_of_jobs_names_the_study(study, page):
    look_for(page, f"{study.dashboard}/#/jobs", page.get_by_role("cell", name=study.folder.name))


@pytest.mark.ray
def test_the_table_of_actors_names_trials(study, page):
    study.wait_for(lambda: (study.folder / "epochs.parquet").exists() and len(table(study.folder, "epochs")))
    trial = page.get_by_role("cell", name=re.compile(r"from trial \d+, placement "))
    look_for(page, f"{study.dashboard}/#/actors", trial)


@pytest.mark.ray
def test_tasks_of_later_phases_bear_the_names_of_their_trainings(study, page):
    study.wait_for(lambda: json.loads((study.folder / "study.json").read_text())["phases_done"] == ["search"])
    training = page.get_by_text(re.compile(r"^compare .*, fold \d"))
    look_for(page, f"{study.dashboard}/#/jobs/01000000", training, opened="Task Table")


@pytest.mark.ray
def test_optunas_dashboard_serves_the_searches_of_all_levels(study):
    study.wait_for(lambda: len(table(study.folder, "trials")))
    port = str(free_port())
    command = [PROGRAMS / "optuna-dashboard", study.folder / "optuna.journal", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        try:
            answer = get(f"http://127.0.0.1:{port}/api/studies")
        finally:
            served.terminate()
    names = {each["study_name"] for each in answer["study_summaries"]}
    assert names == {"level none", "level 1"}


def look_for(page, address, what, opened=None):
    """Open a page of the dashboard, again when it shows nothing: it does not ask twice for what came too late.

    Args:
        opened: a part of the page that is closed at first.
    """
    deadline = time.monotonic() + PATIENCE_S
    page.goto(address)
    while True:
        try:
            if opened is not None:
                page.get_by_text(opened).click(timeout=30_000)
            return what.first.wait_for(timeout=30_000)
        except TimeoutError:
            assert time.monotonic() < deadline
            page.reload()


def token():
    """What the header tells a user to ask for; the token stands last."""
    done = subprocess.run([PROGRAMS / "ray", "get-auth-token"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(address):
    """What a server answers, once it stands."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return json.loads(urlopen(address, timeout=30).read())
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.3)
