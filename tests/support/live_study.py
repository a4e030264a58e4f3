"""A study that is looked at from outside while it runs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tiny_study import PATIENCE_S

SAMPLE = re.compile(r"ray_(wbc_search_\w+)\{(.*)\} (\S+)")


@dataclass
class LiveStudy:
    """A running study: its folder, Ray's folder, and what it has printed so far."""

    folder: Path
    ray_folder: Path
    process: subprocess.Popen
    lines: list[str]

    @property
    def targets(self):
        """Endpoints that Ray tells Prometheus of; the first is the node's, with what workers and driver set."""
        return json.loads((self.ray_folder / "prom_metrics_service_discovery.json").read_text())[0]["targets"]

    @property
    def dashboard(self):
        """Address of the dashboard, as the header says it."""
        return next(re.search(r"http://[\d.:]+", line).group() for line in self.lines if "dashboard" in line)

    def metrics(self):
        """(gauge, tags without Ray's own) -> value."""
        found = {}
        for line in urlopen(f"http://{self.targets[0]}/metrics", timeout=30).read().decode().splitlines():
            match = SAMPLE.fullmatch(line)
            if match:
                name, labels, value = match.groups()
                tags = dict(re.findall(r'(study|level|state|trial|gpu)="([^"]*)"', labels))
                assert tags.pop("study") == self.folder.name
                found[name, tuple(sorted(tags.items()))] = float(value)
        return found

    def wait_for(self, condition):
        """What a condition gives once it holds, while the study runs."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self.process.poll() is None, "the study has ended"
            assert time.monotonic() < deadline
            try:
                found = condition()
            except (OSError, LookupError, StopIteration):  # not there yet
                found = None
            if found:
                return found
            time.sleep(0.2)


@contextmanager
def live_study(*arguments, folder):
    """Start a study with a Ray of its own; in the end it is stopped by SIGTERM, as by a batch system."""
    temporary = Path(tempfile.mkdtemp(prefix="wbc"))  # a socket's path must be short
    environment = {**os.environ, "RAY_TMPDIR": str(temporary), "RAY_metrics_report_interval_ms": "1000"}
    command = [sys.executable, "-m", "search.run", "--output", folder.parent, "--name", folder.name, *arguments]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
        reader.start()
        try:
            yield LiveStudy(folder, temporary / "ray", process, lines)
            process.terminate()
            assert process.wait(timeout=PATIENCE_S) == 130
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)
            reader.join()
            shutil.rmtree(temporary, ignore_errors=True)
