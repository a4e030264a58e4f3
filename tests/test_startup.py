"""The driver of a study never waits for torch: only its workers import it."""

import subprocess
import sys

import pytest

DRIVER = (
    *("search.run", "search.session", "search.opening", "search.header", "search.plan", "search.resume"),
    *("search.study", "search.phases.searching", "search.phases.transferring", "search.modelfiles"),
    *("search.checkpointfolder", "search.show", "search.tuning.tune", "search.tuning.jobs"),
)
RUN = """
import sys
from search.commandline import exit_code
from search.run import app

code = exit_code(app, sys.argv[1:])
print("torch" in sys.modules)
sys.exit(code)
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("module", DRIVER)
def test_a_module_of_the_driver_does_not_import_torch(module):
    assert python(f"import {module}, sys; print('torch' in sys.modules)") == ["False"]


@pytest.mark.parametrize("library", ["pandas", "ray.tune", "scipy.stats", "sklearn"])
def test_what_only_the_study_needs_is_not_imported_before_the_header(library):
    assert python(f"import search.session, sys; print({library!r} in sys.modules)") == ["False"]


@pytest.mark.ray
def test_a_whole_study_runs_without_torch_in_the_driver(cells, others, space, tmp_path):
    arguments = ("--space", space, "--data", cells, "--transfer-data", others, "--profile", "quick")
    *shown, imported = python(RUN, *arguments, "--trials", 2, "--folds", 2, "--output", tmp_path, "--name", "x")
    assert any("at most about" in line for line in shown)
    assert imported == "False"
