import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from tiny_study import (
    PATIENCE_S,
    SPACE,
    Finished,
    Interrupted,
    described,
    draw_folder,
    epochs_trained,
    ray_cluster,
    start,
    wait_until,
)
from xdist.scheduler import LoadScopeScheduling

from search.records.ledger import Ledger

TWO_SLOTS = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
print("at", cluster.address, flush=True)
input()
cluster.shutdown()
"""

# The command, and whether torch has been imported where it ran.
RUN = """
import sys
from search.common.commandline import exit_code
from search.run import app

code = exit_code(app, sys.argv[1:])
print("torch", "torch" in sys.modules)
sys.exit(code)
"""


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often the slow test of faults kills a study")


def pytest_collection_modifyitems(items):
    """Tests on Ray take longest, and come first."""
    items.sort(key=lambda item: "ray" not in item.keywords)


class FilesOnRayTogether(LoadScopeScheduling):
    """Gives files that share the finished study to one worker, others on Ray to the next, and spreads the rest."""

    def _split_scope(self, nodeid):
        file = self.config.rootpath / nodeid.partition("::")[0]
        text = file.read_text()
        if "pytest.mark.ray" not in text:
            return file
        return "the finished study" if re.search(r"^def \w+\(.*\bfinished\b.*\)", text, re.MULTILINE) else "ray"


def pytest_xdist_make_scheduler(config, log):
    return FilesOnRayTogether(config, log)


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are slower on many threads, and sums in another order give other last digits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("data") / "cells", side=16, n_images=14, seed=0)


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("data") / "others", side=20, n_images=8, seed=1)


@pytest.fixture(scope="session")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "tiny.py"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="session")
def cluster():
    """A Ray that studies join by its address: to start one of its own costs a study as much as all the rest."""
    with ray_cluster(TWO_SLOTS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def finished(cells, others, space, tmp_path_factory):
    """A whole study on a Ray of its own, which nothing disturbed."""
    output = tmp_path_factory.mktemp("output")
    arguments = (
        *("--space", space, "--data", cells, "--transfer-data", others, "--profile", "quick"),
        *("--shift-report", others, "--shift-data", cells),
        *("--trials", 5, "--search-folds", 2, "--folds", 2, "--until-settled", 4, "--control"),
        *("--seed", 3, "--max-concurrent", 1, "--sampler", "random", "--objectives", "balanced_accuracy,macs"),
    )
    watched = ("--profile-trace", "--log-to", "mlflow", "--output", output, "--name", "finished")
    given = [sys.executable, "-c", RUN, *map(str, (*arguments, *watched))]
    done = subprocess.run(given, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return Finished(output / "finished", ("search.run", *arguments), done.stdout, done.stderr)


@pytest.fixture(scope="session")
def interrupted(finished, cluster, tmp_path_factory):
    """The finished study once more: it loses a worker, is interrupted, is resumed, and loses another worker."""
    folder = tmp_path_factory.mktemp("output") / "interrupted"
    watched = ("--address", cluster.address, "--log-to", "tensorboard")

    def kill_worker(run, phase):
        wait_until(lambda: epochs_trained(folder, phase) > 1 and cluster.at_work(), run)
        for process in cluster.at_work():
            os.kill(process, signal.SIGKILL)

    run = start(*finished.arguments, *watched, "--output", folder.parent, "--name", folder.name)
    kill_worker(run, "search")
    wait_until(lambda: epochs_trained(folder, "compare") > 2, run)
    run.send_signal(signal.SIGINT)
    printed, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130, errors
    elapsed_s = described(folder)["time"]["elapsed"]

    run = start("search.run", "--resume", folder, *watched, "--max-concurrent", 1)
    kill_worker(run, "transfer")
    more, complaints = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, complaints
    assert complaints == ""
    return Interrupted(folder, printed + more, errors, elapsed_s)


@pytest.fixture
def open_ledger(tmp_path):
    """Opens the folder's ledger, as often as a test wants."""
    opened = []

    def make(**options):
        opened.append(Ledger(tmp_path, **options))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger._journal.close()  # and no more than that, as when the process dies
