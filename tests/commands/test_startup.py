"""The driver of a study starts quickly: only its workers import torch."""

import subprocess
import sys

import pytest

from search.common.commandline import COMMANDS

SLOW = "matplotlib, pandas, ray, scipy, skimage, sklearn, torch"


@pytest.mark.parametrize(
    ("modules", "libraries"),
    [
        ("search, search.run", "numpy, pandas, pyarrow, ray, torch"),
        *((module, SLOW) for module, _ in COMMANDS.values()),  # which --help imports
        # Up to the header, which is printed while a thread imports these.
        ("search.study.launch", "pandas, ray.tune, scipy.stats, sklearn, torch"),
        ("search.show, search.study.study, search.training.trainedmodel", "torch"),
    ],
)
def test_modules_do_not_import_what_they_do_not_need(modules, libraries):
    code = f"import {modules}, sys; print(*(set({libraries!r}.split(', ')) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
