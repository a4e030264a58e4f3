"""The share of a GPU that each training gets, chosen by measurement."""

from collections.abc import Callable

from search.space import Configuration
from search.tuning.cluster import Cluster
from search.tuning.pool import memory_share, probed_speeds, start_probe

SHARES = (1.0, 0.5, 0.25, 0.125)
# Least gain in total speed that justifies more trials at once: each of them is slower, and racing waits for it.
WORTH = 1.05


def packed(cluster: Cluster, typical: Configuration, largest: Configuration, n_classes: int) -> Cluster:
    """The cluster with the share of a GPU per trial that trains the most images per second.

    Args:
        typical: trained to measure the speed.
        largest: must fit into a share's memory.
    """

    def rate(share: float) -> float:
        shared = cluster.sharing(share)
        return shared.slots * probed_speeds(start_probe({"typical": typical}, n_classes, shared))["typical"]

    return cluster.sharing(best_share(rate, memory_share(largest, n_classes, cluster)))


def best_share(rate: Callable[[float], float], least: float) -> float:
    """Halve the share as long as the total speed gains.

    Args:
        rate: images trained per second by all trials that fit at once with a share.
        least: share of a GPU's memory that a trial takes, which no share may undercut.
    """
    best, highest = SHARES[0], rate(SHARES[0])
    for share in SHARES[1:]:
        found = rate(share) if share >= least else 0.0
        if found < WORTH * highest:
            break
        best, highest = share, found
    return best
