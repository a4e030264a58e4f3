"""Pattern of Ray Tune's PyTorch tutorial: a function trainable, one process and one CPU per trial.

Two things that would slow the tutorial down here are left out: the checkpoint after every epoch, which it calls
optional, and worker processes of the DataLoader, since their cores train other trials. No trial is stopped early.
"""

import ray
from ray import tune

from benchmarks.patterns.dataloader import train
from benchmarks.patterns.workload import Workload, load_workload

NUM_WORKERS = 0


def run(workload: Workload) -> None:
    """Run the points with Tune."""
    ray.init(address="local")  # not another Ray of this machine, which it would join
    workload.say_slots(int(ray.cluster_resources()["CPU"]))
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"folder": workload.folder, "trial": tune.grid_search(list(range(len(workload.points))))},
        tune_config=tune.TuneConfig(metric="accuracy", mode="max"),
        run_config=tune.RunConfig(storage_path=str(workload.folder / "ray_results")),
    )
    tuner.fit()


def trainable(config: dict) -> None:
    """Run one trial."""
    for accuracy in train(load_workload(config["folder"]), config["trial"], num_workers=NUM_WORKERS):
        tune.report({"accuracy": accuracy})
