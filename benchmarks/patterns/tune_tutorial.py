"""The pattern of Ray Tune's own PyTorch tutorial: a function trainable, a process a trial, one CPU each.

What the tutorial has and would cost it time here is left out: the checkpoint after every epoch, which it calls
optional, and worker processes of the DataLoader, whose cores train other trials. Nothing stops a trial early.
"""

import ray
from ray import tune

from benchmarks.patterns.dataloader import train
from benchmarks.patterns.workload import Workload, load_workload

NUM_WORKERS = 0


def run(workload: Workload) -> None:
    """Tune over the points."""
    ray.init()
    workload.say_slots(int(ray.cluster_resources()["CPU"]))
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"folder": workload.folder, "trial": tune.grid_search(list(range(len(workload.points))))},
        tune_config=tune.TuneConfig(metric="accuracy", mode="max"),
        run_config=tune.RunConfig(storage_path=str(workload.folder / "ray_results")),
    )
    tuner.fit()


def trainable(config: dict) -> None:
    """One trial."""
    for accuracy in train(load_workload(config["folder"]), config["trial"], num_workers=NUM_WORKERS):
        tune.report({"accuracy": accuracy})
