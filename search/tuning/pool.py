"""Trainings on Ray that belong to no search: the folds of a comparison, a transfer, the final fit."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from search.common.errors import StudyFailedError
from search.space import Configuration
from search.training.checkpoint import Checkpoint
from search.training.types import Images, Step, Task
from search.tuning.cluster import Cluster, Failure
from search.tuning.gauges import MemoryGauge
from search.tuning.worker import Watch, failure_of
from wbcmodels.config import ModelConfig

POLL_S = 0.5
MAX_LOSSES = 5


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
class JobStep:
    """What a job has come to: its next epoch, or why it failed."""

    index: int
    step: Step | None = None
    error: str | None = None


def share(value: Images | bytes) -> Any:
    """Put images or weights into Ray's object store, where all workers of a machine read one copy."""
    return ray.put(value)


class Workers:
    """Processes that train one job after another. They are started when they are first needed, and then kept."""

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
        checkpoint: Callable[[int], bytes | None],
        tick: Callable[[], None],
    ) -> Iterator[JobStep]:
        """Run jobs side by side, in their order as workers fall free, and yield every epoch of each.

        A job goes on when the next step is asked for, so that whatever is made of an epoch is done before. A job
        whose worker is lost is begun once more.

        Args:
            shared: references to data sets and weights, by name.
            title: names the job of an index for a person; its process and its tasks in Ray's dashboard bear it.
            checkpoint: says from what the job of an index goes on, whenever it is begun.
            tick: called at least twice a second.
        Raises:
            StudyFailedError: workers die as soon as they start.
        """
        waiting = deque(range(len(jobs)))
        busy: dict[Any, tuple[Any, int, float]] = {}
        lost: set[int] = set()
        try:
            while waiting or busy:
                wants_room = bool(lost & {*(index for _, index, _ in busy.values()), *list(waiting)[:1]})
                slots = self._cluster.slots_for(wants_room=wants_room)
                self._start(len(busy))
                while waiting and self._idle and len(busy) < slots:
                    index, worker = waiting.popleft(), self._idle.pop()
                    job = jobs[index]
                    weights = None if job.start_from is None else shared[job.start_from]
                    begin = worker.begin.options(name=title(index))
                    first = begin.remote(job.task, shared[job.data], weights, checkpoint(index))
                    busy[first] = worker, index, time.monotonic()
                done, _ = ray.wait([*busy, *self._starting], timeout=POLL_S)
                tick()
                for reference in done:
                    if reference in self._starting:
                        self._started(reference)
                        continue
                    worker, index, began = busy.pop(reference)
                    result = self._result(reference, began)
                    if isinstance(result, Failure) and result.again and index not in lost:
                        lost.add(index)
                        waiting.appendleft(index)
                    elif isinstance(result, Failure):
                        twice = ", twice" if index in lost and result.again else ""
                        yield JobStep(index=index, error=result.reason + twice)
                    else:
                        yield JobStep(index=index, step=result)
                        if result.score is None:
                            busy[worker.step.options(name=title(index)).remote()] = worker, index, began
                            continue
                    self._put_back(worker, result)
        finally:
            for worker, _, _ in busy.values():  # of a study that stops here
                ray.kill(worker)

    def latencies(self, models: Sequence[ModelConfig]) -> list[float]:
        """Median time of one image's forward pass through each network, in ms, in one worker by itself."""
        while True:
            self._start(0)
            for reference in [] if self._idle else ray.wait(list(self._starting), timeout=POLL_S)[0]:
                self._started(reference)
            if self._idle:
                worker = self._idle.pop()
                result = self._result(worker.latencies.remote(list(models)), time.monotonic())
                self._put_back(worker, result)
                if not isinstance(result, Failure):
                    return result
                self._count_loss(result)

    def _start(self, n_busy: int) -> None:
        """Start what is missing."""
        cluster = self._cluster
        while n_busy + len(self._idle) + len(self._starting) < cluster.slots:
            remote = _RemoteActor.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial)
            worker = remote.remote(
                cluster.cpus_per_trial, cluster.gpus_per_trial, cluster.timeout_s, cluster.study
            )
            # A worker that cannot be started for want of resources must not hold a job.
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
        """Give up when nothing but losses comes of starting workers."""
        self._losses += 1
        if self._losses >= MAX_LOSSES:
            raise StudyFailedError(f"workers die as they start: {failure.reason}")

    def _result(self, reference: Any, began: float) -> Any:
        """What a worker answered, or a Failure."""
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # a fault of the worker's own code
            return failure_of(error)
        except ray.exceptions.RayError:
            return self._cluster.loss(time.monotonic() - began)

    def _put_back(self, worker: Any, result: Any) -> None:
        """Keep a worker for the next job; one that failed for memory or was lost is replaced."""
        if isinstance(result, Failure):
            ray.kill(worker)
        else:
            self._idle.append(worker)


def start_probe(configuration: Configuration, cluster: Cluster) -> list[Any]:
    """Begin to train a few steps in every slot, to measure their speed; it is for `probed_speed` to wait for."""
    remote = _speed.options(num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial)
    share_of_each = (cluster.cpus_per_trial, cluster.gpus_per_trial)
    return [remote.remote(configuration, *share_of_each) for _ in range(cluster.slots)]


def probed_speed(probe: Sequence[Any]) -> float:
    """Images trained per second by all slots together."""
    return sum(ray.get(list(probe)))


def memory_share(configuration: Configuration, cluster: Cluster) -> float:
    """Share of a GPU's memory that a training takes, measured in one; 0 where workers find none to use."""
    share: float = ray.get(
        _memory_share.options(num_cpus=cluster.cpus_per_trial, num_gpus=1).remote(configuration)
    )
    return share


class TrainingActor:
    """One process; an epoch a call."""

    def __init__(self, n_threads: int, gpu_share: float, timeout_s: float | None, study: str) -> None:
        from search.training.device import prepare_worker  # the driver imports this module too, and needs no torch

        self._device = prepare_worker(n_threads, gpu_share=gpu_share)
        self._memory = MemoryGauge(study) if self._device.device.type == "cuda" else None
        self._timeout_s, self._study = timeout_s, study

    def __repr__(self) -> str:
        """Ray asks once, as the process is made, which is before it has anything to train."""
        return f"trainings of {self._study} after its search"

    def ready(self) -> None:
        """Answer once the process stands."""

    def begin(self, task: Task, images: Images, weights: bytes | None, saved: bytes | None) -> Step | Failure:
        """Begin a job, and train its next epoch."""
        from search.training.folds import run_task

        self._watch = Watch(self._timeout_s)
        try:
            checkpoint = None if saved is None else Checkpoint.from_bytes(saved)
            self._steps = run_task(task, images, self._device, weights, checkpoint)
        except Exception as error:
            return failure_of(error)
        return self.step()

    def step(self) -> Step | Failure:
        """Train the next epoch."""
        try:
            with self._watch:
                step = next(self._steps)
        except Exception as error:  # whatever it is, it ends this job alone, and its reason goes on record
            return failure_of(error)
        if self._memory is not None:
            self._memory.set()
        return step

    def latencies(self, models: Sequence[ModelConfig]) -> list[float]:
        """Median time of one image's forward pass through each network, in ms."""
        from search.training.speed import latency_ms

        return [latency_ms(model, self._device) for model in models]


_RemoteActor: Any = ray.remote(TrainingActor)


@ray.remote
def _speed(configuration: Configuration, n_threads: int, gpu_share: float) -> float:
    from search.training.device import prepare_worker
    from search.training.speed import training_speed

    return training_speed(configuration, prepare_worker(n_threads, gpu_share=gpu_share))


@ray.remote
def _memory_share(configuration: Configuration) -> float:
    from search.training.device import prepare_worker
    from search.training.speed import memory_share

    return memory_share(configuration, prepare_worker(1, gpu_share=1.0))
