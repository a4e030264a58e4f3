import re

import pytest
from tiny_study import command, ray_cluster, table

from search.tuning.packing import SHARES, best_share


@pytest.mark.parametrize(
    ("rates", "least", "share"),
    [
        ((100, 190, 300, 400), 0.0, 0.125),
        ((100, 190, 300, 310), 0.0, 0.25),  # eight gain too little
        ((100, 101, 300, 400), 0.0, 1.0),  # a step that gains nothing is the last
        ((100, 190, 300, 400), 0.2, 0.25),  # the memory of an eighth does not hold a trial
        ((100, 190, 300, 400), 0.25, 0.25),
        ((100, 190, 300, 400), 0.9, 1.0),
        ((100, 50, 20, 10), 0.0, 1.0),
    ],
)
def test_the_share_is_halved_as_long_as_it_fits_and_is_worth_it(rates, least, share):
    assert best_share(dict(zip(SHARES, rates, strict=True)).__getitem__, least) == share


def test_a_share_too_small_is_not_even_tried():
    tried = []

    def rate(share):
        tried.append(share)
        return 1 / share

    best_share(rate, 0.3)
    assert tried == [1.0, 0.5]


DECLARED_GPU = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
print("at", cluster.address, flush=True)
input()
cluster.shutdown()
"""


@pytest.fixture
def address():
    """Of a cluster that says it has a GPU, which no worker finds."""
    with ray_cluster(DECLARED_GPU) as (_, address):
        yield address


@pytest.mark.ray
def test_a_study_shares_a_declared_gpu_and_falls_back_to_the_cpu(address, cells, space, tmp_path):
    done = command(
        *("search.run", "--space", space, "--data", cells, "--profile", "quick", "--trials", 4, "--folds", 2),
        *("--gpus-per-trial", "auto", "--address", address, "--output", tmp_path, "--name", "study"),
    )
    assert done.returncode == 0, done.stderr
    slots, share = re.search(r"(\d) trainings at once, ([\d.]+) of a GPU for each", done.stdout).groups()
    assert (float(share), int(slots)) in {(1.0, 1), (0.5, 2), (0.25, 2), (0.125, 2)}
    assert (table(tmp_path / "study", "trials")["state"] != "FAIL").all()
