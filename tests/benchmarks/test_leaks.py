import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from search.training.types import Step
from search.tuning.tune import Saved

ROOT = Path(__file__).parents[2]
SLOTS = 2


def test_what_tune_puts_in_words_leaves_megabytes_out():
    megabytes = bytes(2_000_000)
    assert len(repr(Saved(megabytes))) < 1000
    assert len(repr(Step(epoch=None, checkpoint=megabytes, trace=megabytes))) < 1000


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """What a search of forty trials holds, a row a trial or two."""
    output = tmp_path_factory.mktemp("leaks") / "leaks.parquet"
    command = [sys.executable, "-m", "benchmarks.leaks", "--trials", "40", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "growth per 100 trials" in done.stdout
    return pd.read_parquet(output)


@pytest.mark.ray
def test_every_trial_has_been_seen(samples):
    assert samples["trials"].is_monotonic_increasing
    assert samples["trials"].iloc[-1] == 40


@pytest.mark.ray
def test_the_driver_holds_no_epoch_of_a_trial_that_has_ended(samples):
    assert samples["steps"].max() <= 2 * SLOTS  # one at work, one on its way


@pytest.mark.ray
@pytest.mark.parametrize("files", ["scratch_files", "session_files", "study_files"])
def test_files_do_not_grow_with_the_trials(samples, files):
    early, late = samples[samples["trials"] <= 10][files], samples[samples["trials"] > 30][files]
    assert late.max() <= early.max() + 2 * SLOTS


@pytest.mark.ray
def test_rays_object_store_does_not_fill_with_checkpoints(samples):
    # A checkpoint is 2.6 MB; Ray frees those of the last moment in its own time, but not forty trials' later.
    assert samples["store_mb"].min() < 20
    assert samples["store_mb"].iloc[-10:].min() < 40
