import sys

import numpy as np
import pandas as pd

from search.common.commandline import exit_code
from wbcmodels.config import PLACEMENTS


def test_the_benchmark_of_a_gpu_runs_without_one_and_without_ray(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("search.training.device.keep_freed_memory", lambda: True)  # would last for all tests
    from benchmarks import gpu

    assert exit_code(gpu.app, ["--smallest", "--output", str(tmp_path / "gpu.parquet")]) == 0
    assert "the placement study" in capsys.readouterr().out
    rows = pd.read_parquet(tmp_path / "gpu.parquet")
    assert set(rows["way"]) == {"tutorial", "plain step", "training", "side by side", "stacked"}
    assert rows["placement"][rows["way"] == "training"].tolist() == list(PLACEMENTS)
    for measure in ("images_per_s", "use", "study_s", "peak_flops"):
        assert np.isfinite(rows[measure]).all()
        assert (rows[measure] > 0).all()
