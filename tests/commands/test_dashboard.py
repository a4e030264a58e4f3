"""A running study as other programs show it: Prometheus, Ray's dashboard and Optuna's."""

import json
import math
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import yaml
from live_study import live_study
from tiny_study import PATIENCE_S, SPACE, described, table

pytestmark = pytest.mark.ray
DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = Path(sys.executable).parent


def test_optunas_dashboard_serves_the_search_of_settings(finished):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [PROGRAMS / "optuna-dashboard", finished.folder / "optuna.journal", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        try:
            answer = json.loads(get_once_served(f"http://127.0.0.1:{port}/api/studies"))
        finally:
            served.terminate()
    assert {each["study_name"] for each in answer["study_summaries"]} == {"settings"}


def get_once_served(address):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return get(address)
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.3)


def get(address, **headers):
    return urlopen(Request(address, headers=headers), timeout=30).read()


@pytest.fixture(scope="module")
def live(cells, tmp_path_factory):
    """A study that runs until these tests are done with it: its comparison has three hundred repeats."""
    folder = tmp_path_factory.mktemp("live")
    space = folder / "longer.py"
    space.write_text(SPACE.replace("epochs=2, lr", "epochs=30, lr"))  # gauges are exported a second apart
    arguments = (
        *("--space", space, "--data", cells, "--profile", "quick", "--trials", 4, "--folds", 3, "--seed", 3),
        *("--repeats", 300, "--max-concurrent", 1),
    )
    with live_study(*arguments, folder=folder / "watched") as study:
        study.wait_for(lambda: study.dashboard)
        yield study


def test_prometheus_reads_what_the_tables_of_a_running_study_hold(live):
    running = live.wait_for(lambda: of(live.metrics(), "wbc_search_validation_score"))
    # deploy/prometheus.yml names this file, in the folder of a Ray started without options.
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (file,) = job["file_sd_configs"][0]["files"]
    assert Path(file).parent == Path("/tmp/ray")
    assert (live.ray_folder / Path(file).name).exists()

    live.wait_for(lambda: described(live.folder)["phases_done"] == ["search"])
    trials = table(live.folder, "trials")
    complete = trials[trials["state"] == "COMPLETE"]
    counts = {"RUNNING": 0, "COMPLETE": 0, "PRUNED": 0, "FAIL": 0, **trials["state"].value_counts().to_dict()}
    expected = {
        "wbc_search_best_score": {
            (("level", level),): pytest.approx(best)
            for level, best in complete.groupby("level")["value"].max().items()
        },
        "wbc_search_trials": {(("state", state),): n for state, n in counts.items()},
        "wbc_search_validation_score": {},
    }

    def agrees():
        """On a busy machine Ray exports late."""
        found = live.metrics()
        return {name: of(found, name) for name in expected} == expected

    assert live.wait_for(agrees)

    epochs = table(live.folder, "epochs").query("phase == 'search'")
    for tags, score in running.items():
        rows = epochs[epochs["number"] == int(dict(tags)["trial"])]
        assert set(rows["level"]) == {dict(tags)["level"]}
        assert any(math.isclose(score, value) for value in rows["val_balanced_accuracy"])

    def rates_agree():
        """An epoch has as many images as a training; the two are exported a moment apart."""
        found, n_train = live.metrics(), table(live.folder, "folds")["n_train"]
        epochs_per_s, images_per_s = (found[f"wbc_search_{what}_per_second", ()] for what in ("epochs", "images"))
        rounding = 1e-6  # the quotient of two rates is not quite a whole number
        return epochs_per_s and n_train.min() - rounding <= images_per_s / epochs_per_s <= n_train.max() + rounding

    assert live.wait_for(rates_agree)


def of(found, name):
    """The series of one gauge: tags -> value."""
    return {tags: value for (gauge, tags), value in found.items() if gauge == name}


def test_rays_dashboard_names_the_study_and_its_trials(live):
    assert b"<html" in get(live.dashboard)
    asked = subprocess.run([PROGRAMS / "ray", "get-auth-token"], capture_output=True, text=True, check=True)
    token = {"Authorization": f"Bearer {asked.stdout.split()[-1]}"}  # the header of the study says to ask for it
    jobs = json.loads(get(f"{live.dashboard}/api/jobs/", **token))
    assert live.folder.name in {job["metadata"].get("job_name") for job in jobs}

    def actor_of_a_trial():
        answer = json.loads(get(f"{live.dashboard}/api/v0/actors?detail=true", **token))
        return [actor for actor in answer["data"]["result"]["result"] if "placement" in (actor["repr_name"] or "")]

    assert live.wait_for(actor_of_a_trial)
