"""A study that notes what its clock shows, for `benchmarks.clock`.

python -m benchmarks.clocked RECORD OPTIONS...
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from search.common.commandline import exit_code
from search.common.console import ProgressReporter
from search.run import app
from search.study import announce


def main(record: Path, options: list[str]) -> int:
    """Run a study, and write a line of JSON for its estimate and whenever its progress is refreshed."""
    estimate_s, refresh = announce.estimate_s, ProgressReporter.refresh

    def note(values: Mapping[str, Any]) -> None:
        with record.open("a") as file:
            file.write(json.dumps({"at": time.time(), **values}) + "\n")

    def estimating(*given: Any) -> tuple[float, float]:
        low, high = estimate_s(*given)
        note({"low": low, "high": high})
        return low, high

    def refreshing(reporter: ProgressReporter, **options: bool) -> None:
        note({"share": reporter.clock.share, "left": reporter.clock.left_s()})
        refresh(reporter, **options)

    with (
        patch.object(announce, "estimate_s", estimating),
        patch.object(ProgressReporter, "refresh", refreshing),
    ):
        return exit_code(app, options)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
