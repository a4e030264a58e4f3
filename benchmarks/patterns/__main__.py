"""One pattern in a process of its own: `python -m benchmarks.patterns PATTERN FOLDER`, called by the benchmark."""

import importlib
import sys
from pathlib import Path

from benchmarks.patterns.workload import load_workload

if __name__ == "__main__":
    pattern, folder = sys.argv[1:]
    # Each imports what it needs and no more: imports are part of its start.
    importlib.import_module(f"benchmarks.patterns.{pattern}").run(load_workload(Path(folder)))
