"""A study submitted as a job to a Ray cluster, and kept in a bucket."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest
from s3_server import s3_server
from tiny_study import PATIENCE_S

from search.records.mirror.store import Store

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
PORTS = (
    *("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port"),
    *("dashboard-agent-grpc-port", "runtime-env-agent-port", "node-manager-port", "object-manager-port"),
)


def free_ports(n):
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def head_node():
    """A Ray on ports and in a folder that no other Ray uses: address of its job server, and its environment."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    with tempfile.TemporaryDirectory(prefix="wbc", ignore_cleanup_errors=True) as folder:
        environment = os.environ | {
            "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT), "MPLBACKEND": "none",
            "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        given = [RAY, "start", "--head", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1"]
        given += [f"--{name}={port}" for name, port in ports.items()]
        with subprocess.Popen(given, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ray:
            try:
                address = f"http://127.0.0.1:{ports['dashboard-port']}"
                wait_for(address, ray)
                yield address, environment
            finally:
                ray.terminate()
                ray.wait(timeout=PATIENCE_S)


def wait_for(address, process):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None
        try:
            return urlopen(address, timeout=30).close()
        except (URLError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_keeps_its_study_in_a_bucket(cells, space, tmp_path, monkeypatch):
    with s3_server(monkeypatch) as client:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        client.create_bucket(Bucket="lab")
        with head_node() as (address, environment):
            study = (
                *("python", "-m", "search.run", "--address", "auto", "--space", space, "--data", cells),
                *("--profile", "quick", "--trials", 2, "--search-folds", 1, "--compare-settings", 1, "--folds", 2),
                *("--output", "s3://lab/studies", "--name", "cells"),
            )
            submit = [RAY, "job", "submit", "--address", address, "--", *study]
            done = subprocess.run(
                list(map(str, submit)), env=environment, capture_output=True, text=True, timeout=600
            )
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        store = Store("s3://lab/studies/cells")
        expected = {"study.json", "journal.jsonl", "comparison.parquet", "model/weights.safetensors"}
        assert expected <= set(store.names())
        store.download("trials.parquet", tmp_path / "trials.parquet")
        assert pq.read_table(tmp_path / "trials.parquet")["state"].to_pylist() == ["COMPLETE", "COMPLETE"]
        assert store.read(".lock") is None
