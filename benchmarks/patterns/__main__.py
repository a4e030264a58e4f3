"""Command that runs one pattern, `python -m benchmarks.patterns PATTERN FOLDER`; called by the benchmark."""

import importlib
import sys
from pathlib import Path

from benchmarks.patterns.workload import load_workload

if __name__ == "__main__":
    pattern, folder = sys.argv[1:]
    # Each pattern imports only what it needs, because imports are part of its start-up.
    importlib.import_module(f"benchmarks.patterns.{pattern}").run(load_workload(Path(folder)))
