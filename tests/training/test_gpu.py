import subprocess
import sys

import numpy as np
import pandas as pd

from wbcmodels.config import PLACEMENTS


def test_the_benchmark_of_a_gpu_runs_without_one_and_without_ray(tmp_path):
    without_ray = "import runpy, sys; sys.modules['ray'] = None; "
    code = without_ray + "runpy.run_module('benchmarks.gpu', run_name='__main__')"
    output = tmp_path / "gpu.parquet"
    done = subprocess.run(
        [sys.executable, "-c", code, "--smallest", "--output", output], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "the placement study, 8 x 10 folds x 40 epochs" in done.stdout
    rows = pd.read_parquet(output)
    assert set(rows["way"]) == {"tutorial", "plain step", "training", "side by side", "stacked"}
    assert rows["placement"][rows["way"] == "training"].tolist() == list(PLACEMENTS)
    for measure in ("images_per_s", "use", "study_s", "peak_flops"):
        assert np.isfinite(rows[measure]).all()
        assert (rows[measure] > 0).all()
