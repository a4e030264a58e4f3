"""A study on a Ray cluster of two nodes, both on this machine, one of which dies."""

import re

import pytest
from tiny_study import PATIENCE_S, ray_cluster, start, table, wait_until

from search.records.schema import KEY_COLUMNS

# Each node claims a GPU that no worker finds.
TWO_NODES = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
doomed = cluster.add_node(num_cpus=1, num_gpus=1)
cluster.wait_for_nodes()
print("at", cluster.address, flush=True)
input()
cluster.remove_node(doomed, allow_graceful=False)
input()
cluster.shutdown()
"""


@pytest.fixture
def nodes():
    with ray_cluster(TWO_NODES) as cluster:
        yield cluster
        cluster.go_on()


@pytest.mark.ray
def test_trials_share_the_gpus_and_those_of_a_lost_node_move_to_another(nodes, cells, space, tmp_path):
    long = tmp_path / "long.py"  # removed while the study runs: workers do not read it
    long.write_text(space.read_text().replace("epochs=2, lr=suggest", "epochs=25, lr=suggest"))
    folder = tmp_path / "study"
    run = start(
        *("search.run", "--space", long, "--data", cells, "--profile", "quick", "--trials", 4, "--folds", 2),
        *("--search-folds", 2, "--pruner", "none", "--gpus-per-trial", "auto", "--address", nodes.address),
        *("--output", tmp_path, "--name", folder.name),
    )
    wait_until(lambda: n_searched(folder) >= 2, run)
    long.unlink()
    nodes.go_on()
    printed, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, errors
    slots, share = re.search(r"(\d) trainings at once, each on ([\d.]+) of a GPU", printed).groups()
    assert int(slots) == 2
    assert float(share) in {1.0, 0.5, 0.25, 0.125}
    trials = table(folder, "trials")
    assert sorted(trials["number"]) == list(range(4))
    assert (trials["state"] == "COMPLETE").all()
    assert (trials["epochs"] == 2 * 25).all()
    assert not table(folder, "epochs").duplicated([*KEY_COLUMNS, "epoch"]).any()
    assert not list((folder / "checkpoints").glob("*"))


def n_searched(folder):
    """How many trials the tables hold epochs of."""
    return table(folder, "epochs")["number"].nunique() if (folder / "epochs.parquet").exists() else 0
