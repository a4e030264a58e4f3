"""The pool of workers for trainings outside the search: folds of a comparison, of a transfer, the final fit."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from search.common.errors import StudyFailedError
from search.space import Configuration
from search.training.types import Images, Step, Task
from search.tuning.cluster import Cluster
from search.tuning.failures import Failure, Retries, failure_of, lost_worker
from search.tuning.worker import Worker
from wbcmodels.network import EstimatorConfig, Model

POLL_S = 0.5
MAX_LOSSES = 5


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task, with the names of the shared objects that it works on.

    Attributes:
        data: name of the data set.
        start_from: name of the weights to start from; None for a training from scratch.
    """

    task: Task
    data: str
    start_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobStep:
    """A job's next epoch, or why it failed."""

    index: int
    step: Step | None = None
    error: str | None = None


def share(value: Images | bytes) -> Any:
    """Put images or weights into Ray's object store, where all workers of a machine read the same copy."""
    return ray.put(value)


class Workers:
    """A pool of workers, started when they are first needed and then kept."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._losses = 0

    def run(
        self,
        jobs: Sequence[Job],
        shared: Mapping[str, Any],
        *,
        title: Callable[[int], str],
        begin: Callable[[int], bytes | None],
        tick: Callable[[], None],
    ) -> Iterator[JobStep]:
        """Run jobs in parallel, started in their order, and yield every epoch of each.

        A job continues when the caller asks for the next step, so an epoch is recorded before the next is trained.

        Args:
            shared: references to data sets and weights, by name.
            title: of the job of an index, for a person; shown in Ray's dashboard.
            begin: called whenever the job of an index begins or is retried; returns the checkpoint to resume from.
            tick: called at least twice a second.
        Raises:
            StudyFailedError: workers die as soon as they start.
        """
        waiting = deque(range(len(jobs)))
        running: dict[Any, tuple[Any, int, float]] = {}
        retries = Retries()
        try:
            while waiting or running:
                slots = retries.slots(self._cluster.slots, [index for _, index, _ in running.values()], waiting)
                self._start(len(running))
                while waiting and self._idle and len(running) < slots:
                    index, worker = waiting.popleft(), self._idle.pop()
                    job = jobs[index]
                    weights = None if job.start_from is None else shared[job.start_from]
                    elsewhere = (shared[where.data] for where in job.task.elsewhere)
                    first = worker.begin_and_step.options(name=title(index))
                    reference = first.remote(job.task, shared[job.data], weights, begin(index), *elsewhere)
                    running[reference] = worker, index, time.monotonic()
                done, _ = ray.wait([*running, *self._starting], timeout=POLL_S)
                tick()
                for reference in done:
                    if reference in self._starting:
                        self._started(reference)
                        continue
                    worker, index, began = running.pop(reference)
                    result = self._result(reference, began)
                    if not isinstance(result, Failure):
                        yield JobStep(index=index, step=result)
                        if result.score is None:
                            running[worker.step.options(name=title(index)).remote()] = worker, index, began
                            continue
                    elif retries.allow(index, result):
                        waiting.appendleft(index)
                    else:
                        yield JobStep(index=index, error=retries.reason(index, result))
                    self._put_back(worker, result)
        finally:
            for worker, _, _ in running.values():  # the study stops here
                ray.kill(worker)

    def latencies(self, models: Sequence[Model], n_classes: int) -> list[float]:
        """Time of one image's forward pass through each network, in ms, measured in one worker alone.

        NaN where it does not repeat.
        """
        result: list[float] = self._ask(lambda worker: worker.latencies.remote(list(models), n_classes))
        return result

    def features(self, model: EstimatorConfig, images: Any) -> NDArray[np.float32]:
        """What a classifier measures in all images of a data set, (n_images, n_features).

        Args:
            images: reference to the data set, see `share`.
        """
        result: NDArray[np.float32] = self._ask(lambda worker: worker.features.remote(model, images))
        return result

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """What one worker answers, alone; another one is asked if it dies.

        Raises:
            StudyFailedError: workers die again and again.
        """
        while True:
            self._start(0)
            for reference in [] if self._idle else ray.wait(list(self._starting), timeout=POLL_S)[0]:
                self._started(reference)
            if self._idle:
                worker = self._idle.pop()
                result = self._result(question(worker), time.monotonic())
                self._put_back(worker, result)
                if not isinstance(result, Failure):
                    return result
                self._count_loss(result)

    def _start(self, n_running: int) -> None:
        """Start as many workers as there are slots."""
        cluster = self._cluster
        while n_running + len(self._idle) + len(self._starting) < cluster.slots:
            remote = _RemoteWorker.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial)
            worker = remote.remote(
                cluster.cpus_per_trial, cluster.gpus_per_trial, cluster.timeout_s, cluster.study
            )
            # A worker that cannot start for lack of resources must not hold a job.
            self._starting[worker.ready.remote()] = worker

    def _started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            self._count_loss(failure_of(error))
        else:
            self._losses = 0
            self._idle.append(worker)

    def _count_loss(self, failure: Failure) -> None:
        """Give up after several losses in a row."""
        self._losses += 1
        if self._losses >= MAX_LOSSES:
            raise StudyFailedError(f"workers die as soon as they start: {failure.reason}")

    def _result(self, reference: Any, began: float) -> Any:
        """What a worker returned, or a Failure."""
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # an error in the worker's own code
            return failure_of(error)
        except ray.exceptions.RayError:
            return lost_worker(time.monotonic() - began, self._cluster.timeout_s)

    def _put_back(self, worker: Any, result: Any) -> None:
        """Keep a worker for the next job; one whose job failed is replaced."""
        if isinstance(result, Failure):
            ray.kill(worker)
        else:
            self._idle.append(worker)


def start_probe(networks: Mapping[str, Configuration], n_classes: int, cluster: Cluster) -> list[tuple[str, Any]]:
    """Start training a few steps of every network, in all slots at once; `probed_speeds` waits for the result.

    Args:
        networks: by name; the first fills slots that would be idle.
    """
    remote = _speed.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial)
    share_of_each = (cluster.cpus_per_trial, cluster.gpus_per_trial)
    names = [*networks, *[next(iter(networks))] * max(0, cluster.slots - len(networks))]
    return [(name, remote.remote(networks[name], n_classes, *share_of_each)) for name in names]


def probed_speeds(probe: Sequence[tuple[str, Any]]) -> dict[str, float]:
    """Images that one slot trains per second, by the network's name."""
    speeds: dict[str, list[float]] = {}
    for (name, _), speed in zip(probe, ray.get([reference for _, reference in probe]), strict=True):
        speeds.setdefault(name, []).append(speed)
    return {name: fmean(found) for name, found in speeds.items()}


def memory_share(configuration: Configuration, n_classes: int, cluster: Cluster) -> float:
    """Share of a GPU's memory that a training takes, as measured; 0 where workers cannot use a GPU."""
    share: float = ray.get(
        _memory_share.options(num_cpus=cluster.cpus_per_trial, num_gpus=1).remote(configuration, n_classes)
    )
    return share


_RemoteWorker: Any = ray.remote(Worker)


@ray.remote
def _speed(configuration: Configuration, n_classes: int, n_threads: int, gpu_share: float) -> float:
    from search.training.device import prepare_worker
    from search.training.speed import training_speed

    return training_speed(configuration, n_classes, prepare_worker(n_threads, gpu_share=gpu_share))


@ray.remote
def _memory_share(configuration: Configuration, n_classes: int) -> float:
    from search.training.device import prepare_worker
    from search.training.speed import memory_share

    return memory_share(configuration, n_classes, prepare_worker(1, gpu_share=1.0))
