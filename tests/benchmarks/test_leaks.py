import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from search.training.types import Step
from search.tuning.tune import Saved

ROOT = Path(__file__).parents[2]
SLOTS = 2


def test_megabytes_are_left_out_of_what_tune_prints():
    megabytes = bytes(2_000_000)
    assert len(repr(Saved(megabytes))) < 1000
    assert len(repr(Step(epoch=None, checkpoint=megabytes, trace=megabytes))) < 1000


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_holds_no_more_after_forty_trials_than_after_ten(tmp_path):
    output = tmp_path / "leaks.parquet"
    command = [sys.executable, "-m", "benchmarks.leaks", "--trials", "40", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "growth per 100 trials" in done.stdout
    samples = pd.read_parquet(output)  # a row a trial or two
    assert samples["trials"].is_monotonic_increasing
    assert samples["trials"].iloc[-1] == 40
    assert samples["steps"].max() <= 2 * SLOTS  # of trials that have not ended: one at work, one on its way
    early, late = samples[samples["trials"] <= 10], samples[samples["trials"] > 30]
    for files in ("scratch_files", "session_files", "study_files"):
        assert late[files].max() <= early[files].max() + 2 * SLOTS
    # A checkpoint is 2.6 MB; Ray frees the latest in its own time, but not forty trials' later.
    assert samples["store_mb"].min() < 20
    assert samples["store_mb"].iloc[-10:].min() < 40
