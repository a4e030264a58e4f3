import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.patterns.frozen import FrozenNet
from benchmarks.throughput import PATTERNS
from benchmarks.throughput_measures import Event, images_per_s, lost_per_trial_s, memory_mb
from wbcmodels.config import PLACEMENTS, ModelConfig
from wbcmodels.network import model_size

ROOT = Path(__file__).parents[2]
MEASURES = ["images_per_s", "ratio_to_limit", "first_result_s", "lost_per_trial_s", "peak_memory_mb"]


def trial(number, *starts):
    """Epochs of 2 s and half a second of validation each."""
    return [
        Event(trial=number, epoch=epoch, started=start, ended=start + 2, validated=start + 2.5)
        for epoch, start in enumerate(starts, start=1)
    ]


def test_the_rate_is_from_the_first_step_to_the_last():
    events = trial(0, 10, 12.5) + trial(1, 11, 13.5)
    assert images_per_s(events, n_train=55) == pytest.approx(4 * 55 / 5.5)


def test_what_is_lost_lies_between_the_trials_of_a_slot():
    # Two slots: trial 2 follows trial 0 after 1 s, trial 3 follows trial 1 after 3 s, trial 4 trial 2 after 2 s.
    slots = trial(0, 10, 12.5) + trial(2, 16, 18.5) + trial(4, 23), trial(1, 10.5, 13) + trial(3, 18.5, 21)
    events = slots[0] + slots[1]
    assert lost_per_trial_s(events, slots=2) == pytest.approx((1 + 3 + 2) / 3)
    assert lost_per_trial_s(events[::-1], slots=2) == pytest.approx(2)
    assert math.isnan(lost_per_trial_s(events, slots=5))


def test_a_slot_that_starts_late_loses_nothing():
    assert lost_per_trial_s(trial(0, 0) + trial(1, 50) + trial(2, 53), slots=2) == pytest.approx(50.5)
    assert math.isnan(lost_per_trial_s(trial(0, 0) + trial(1, 50), slots=2))


def test_memory_is_that_of_a_process_and_all_below_it():
    code = "import subprocess, sys; x = b'1' * 50_000_000; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    child = "y = b'2' * 50_000_000; print('ready', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        assert 100 < memory_mb(process.pid) < 200
        process.communicate("\n")
    assert memory_mb(process.pid) == 0


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_frozen_network_is_of_the_family(placement):
    config = ModelConfig(placement=placement, input_px=12, width=0.125)
    model = FrozenNet(placement=placement, side=12, width=0.125, n_classes=5, dropout=0.5)
    assert sum(parameter.numel() for parameter in model.parameters()) == model_size(config, 5).n_parameters


@pytest.mark.ray
@pytest.mark.slow
def test_the_smallest_run_measures_every_pattern(tmp_path):
    output = tmp_path / "throughput.parquet"
    command = [sys.executable, "-m", "benchmarks.throughput", "--smallest", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(output)
    assert sorted(frame["pattern"]) == sorted(PATTERNS)
    assert np.isfinite(frame[MEASURES]).all(axis=None)
    assert (frame[MEASURES] > 0).all(axis=None)
