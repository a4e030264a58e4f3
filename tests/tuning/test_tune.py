"""Tests of search.tuning.tune on Ray."""

import subprocess
import sys

import pandas as pd
import pytest
from tiny_study import NO_PAGE, PATIENCE_S

pytestmark = pytest.mark.ray

RUN_IN_TURNS = """
import sys
import search.tuning.tune
from search.common.commandline import exit_code
from search.run import app

search.tuning.tune.TURNS_PER_RUN = 3
fit, n_runs = search.tuning.tune._fit, 0

def counted(*arguments):
    global n_runs
    n_runs += 1
    fit(*arguments)

search.tuning.tune._fit = counted
code = exit_code(app, sys.argv[1:])
print("runs of Tune:", n_runs)
sys.exit(code)
"""


def test_a_search_outlasts_many_runs_of_tune(cells, space, cluster, tmp_path):
    arguments = ["--space", space, "--data", cells, "--transfer-data", "none", "--trials", "6", "--folds", "2"]
    arguments += ["--output", tmp_path, "--name", "study", "--pruner", "none", "--address", cluster.address]
    done = subprocess.run(
        [sys.executable, "-c", RUN_IN_TURNS, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE_S, env=NO_PAGE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    trials = pd.read_parquet(tmp_path / "study" / "trials.parquet")
    assert sorted(trials["number"]) == list(range(6))
    assert set(trials["state"]) == {"COMPLETE"}
    n_runs = int(done.stdout.rpartition("runs of Tune: ")[2])
    assert n_runs >= 2
