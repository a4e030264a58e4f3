"""Trainings on Ray that belong to no search: the folds of a comparison, a transfer, the final fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from search.space import Configuration
from search.speed import latency_ms, training_speed
from search.trial import EpochScore, FoldScore, Images, Task, run_task
from search.tuning.cluster import Cluster
from search.tuning.worker import prepare_worker, reason
from wbcmodels.config import ModelConfig

POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task with the names of what it works on, which its workers share.

    Attributes:
        data: name of the data set.
        start_from: name of the weights to start from; None starts afresh.
    """

    task: Task
    data: str
    start_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job that ended: its epochs and score, or why it failed."""

    index: int
    epochs: tuple[EpochScore, ...] = ()
    score: FoldScore | None = None
    error: str | None = None


def share(value: Images | bytes) -> Any:
    """Put images or weights into Ray's object store, where all workers of a machine read one copy."""
    return ray.put(value)


def run_jobs(
    jobs: Sequence[Job], shared: Mapping[str, Any], cluster: Cluster, tick: Callable[[], None]
) -> Iterator[Finished]:
    """Run jobs side by side, in their order as slots fall free, and yield each as it ends.

    Args:
        shared: references to data sets and weights, by name.
        tick: called at least twice a second.
    """
    remote = _run.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial, max_retries=1)
    waiting = list(enumerate(jobs))[::-1]
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < cluster.slots:
                index, job = waiting.pop()
                weights = None if job.start_from is None else shared[job.start_from]
                gpu = cluster.gpus_per_trial > 0
                reference = remote.remote(job.task, shared[job.data], weights, cluster.cpus_per_trial, gpu)
                running[reference] = index
            done, _ = ray.wait(list(running), timeout=POLL_S)
            tick()
            for reference in done:
                yield _result(reference, running.pop(reference))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def measure_latencies(models: Sequence[ModelConfig], cluster: Cluster) -> list[float]:
    """Median milliseconds of one image's forward pass, measured one after another in one worker."""
    remote = _latencies.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial)
    return ray.get(remote.remote(list(models), cluster.cpus_per_trial, cluster.gpus_per_trial > 0))


def measure_speed(configuration: Configuration, cluster: Cluster) -> float:
    """Images trained per second by all slots together, from a probe of a few steps in each at once."""
    remote = _speed.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial)
    share_of_each = (cluster.cpus_per_trial, cluster.gpus_per_trial > 0)
    return sum(ray.get([remote.remote(configuration, *share_of_each) for _ in range(cluster.slots)]))


def _result(reference: Any, index: int) -> Finished:
    try:
        epochs, score, error = ray.get(reference)
    except ray.exceptions.RayError as lost:
        return Finished(index=index, error=reason(lost))
    return Finished(index=index, epochs=epochs, score=score, error=error)


@ray.remote
def _run(
    task: Task, images: Images, weights: bytes | None, n_threads: int, gpu: bool
) -> tuple[tuple[EpochScore, ...], FoldScore | None, str | None]:
    device = prepare_worker(n_threads, gpu=gpu)
    try:
        events = list(run_task(task, images, device, weights))
    except Exception as error:  # whatever it is, it ends this task alone, and its reason goes on record
        return (), None, reason(error)
    epochs = tuple(event for event in events if isinstance(event, EpochScore))
    score = events[-1]
    assert isinstance(score, FoldScore)
    return epochs, score, None


@ray.remote
def _latencies(models: Sequence[ModelConfig], n_threads: int, gpu: bool) -> list[float]:
    device = prepare_worker(n_threads, gpu=gpu)
    return [latency_ms(model, device) for model in models]


@ray.remote
def _speed(configuration: Configuration, n_threads: int, gpu: bool) -> float:
    return training_speed(configuration, prepare_worker(n_threads, gpu=gpu))
