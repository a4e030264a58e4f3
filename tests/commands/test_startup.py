"""The driver of a study never waits for torch: only its workers import it."""

import subprocess
import sys

import pytest

DRIVER = (
    *(
        "search.run",
        "search.study.launch",
        "search.study.session",
        "search.study.announce",
        "search.study.plan",
        "search.study.resume",
    ),
    *("search.study.study", "search.study.searching", "search.study.transferring", "search.training.trainedmodel"),
    *("search.records.checkpoints", "search.show", "search.tuning.tune", "search.tuning.pool"),
)


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("module", DRIVER)
def test_a_module_of_the_driver_does_not_import_torch(module):
    assert python(f"import {module}, sys; print('torch' in sys.modules)") == ["False"]


@pytest.mark.parametrize("library", ["pandas", "ray.tune", "scipy.stats", "sklearn"])
def test_what_only_the_study_needs_is_not_imported_before_the_header(library):
    assert python(f"import search.study.launch, sys; print({library!r} in sys.modules)") == ["False"]
