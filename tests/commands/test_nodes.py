"""A study on a Ray cluster of two nodes, both on this machine, of which one dies."""

import time

import pytest
from tiny_study import PATIENCE_S, ray_cluster, start, table

TWO_NODES = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
doomed = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print("at", cluster.address, flush=True)
input()
cluster.remove_node(doomed, allow_graceful=False)
input()
cluster.shutdown()
"""


@pytest.fixture
def cluster():
    """A process that loses a node of its cluster at a line, and ends at another; with the cluster's address."""
    with ray_cluster(TWO_NODES) as (process, address):
        yield process, address
        print("\n", file=process.stdin, flush=True)


@pytest.mark.ray
def test_trials_of_a_lost_node_go_on_elsewhere(cluster, cells, others, space, tmp_path):
    nodes, address = cluster
    long = tmp_path / "long.py"  # removed once the study runs: nothing of it is needed where trials run
    long.write_text(space.read_text().replace("epochs=2, lr=suggest", "epochs=25, lr=suggest"))
    folder = tmp_path / "study"
    run = start(
        *("search.run", "--space", long, "--data", cells, "--transfer-data", others, "--profile", "quick"),
        *("--trials", 6, "--folds", 2, "--pruner", "none", "--address", address),
        *("--output", tmp_path, "--name", "study"),
    )
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "epochs.parquet").exists() or table(folder, "epochs")["number"].nunique() < 2:
        assert time.monotonic() < deadline
        assert run.poll() is None, run.communicate()
        time.sleep(0.2)
    long.unlink()
    print(file=nodes.stdin, flush=True)
    printed, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, errors
    assert "2 trainings at once" in printed
    trials = table(folder, "trials")
    assert sorted(trials["number"]) == list(range(6))
    assert (trials["state"] == "COMPLETE").all()
    assert (trials["epochs"] == 2 * 25).all()
    key = ["phase", "number", "level", "settings", "way", "repeat", "fold", "epoch"]
    assert not table(folder, "epochs").duplicated(key).any()
    assert not list((folder / "checkpoints").glob("*"))
