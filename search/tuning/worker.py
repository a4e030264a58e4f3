"""The worker: a process that trains one job after another, an epoch at a time."""

import faulthandler
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data.splits import Split
from search.space import Configuration
from search.training.checkpoint import Checkpoint
from search.training.types import Elsewhere, Images, Step, Task
from search.tuning.failures import Failure, failure_of
from search.tuning.gauges import MemoryGauge
from wbcmodels.network import EstimatorConfig, Model


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """A trial of the search: one configuration on all search folds.

    Attributes:
        seed: of the study.
        trace: profile an epoch.
        elsewhere: laboratories that every fold's network is scored on.
    """

    configuration: Configuration
    splits: tuple[Split, ...]
    seed: int
    trace: bool
    elsewhere: tuple[Elsewhere, ...] = ()


class Worker:
    """Trains trials of the search, and the tasks of later phases.

    Args:
        gpu_share: of a GPU and its memory; 0 trains on the CPU.
        timeout_s: longest that a job may run before the process ends itself; None sets no limit.
        study: name of the study.
    """

    def __init__(self, n_threads: int, gpu_share: float, timeout_s: float | None, study: str) -> None:
        from search.training.device import prepare_worker  # the driver imports this module too, and needs no torch

        self._device = prepare_worker(n_threads, gpu_share=gpu_share)
        self._memory = MemoryGauge(study) if self._device.device.type == "cuda" else None
        self._timeout_s, self._study = timeout_s, study

    def __repr__(self) -> str:
        """Shown in Ray's dashboard, which asks once, when the process starts and has nothing to train."""
        return f"trainings of {self._study} after its search"

    def ready(self) -> None:
        """Return once the process has started."""

    def begin(
        self,
        task: Task | TrialTask,
        images: Images,
        weights: bytes | None,
        checkpoint: bytes | None,
        *elsewhere: Images,
    ) -> None:
        """Prepare a job; it starts with its first step.

        Args:
            weights: that the task starts from, as safetensors.
            checkpoint: that the job resumes from.
            elsewhere: the further data sets that the task scores, in its order.
        """
        from search.training.folds import run_task, run_trial
        from search.training.trace import with_trace

        self._watch = Watch(self._timeout_s)  # after the imports, which take seconds in a new process
        saved = None if checkpoint is None else Checkpoint.from_bytes(checkpoint)
        others = tuple(zip(task.elsewhere, elsewhere, strict=True))
        if isinstance(task, Task):
            by_name = {where.data: its for where, its in others}
            self._steps = run_task(task, images, self._device, weights, saved, by_name)
        else:
            steps = run_trial(task.configuration, task.splits, images, task.seed, self._device, saved, others)
            self._steps = with_trace(steps, self._device) if task.trace else steps

    def step(self) -> Step | Failure | None:
        """Train the next epoch; None after the last."""
        try:
            with self._watch:
                step = next(self._steps, None)
        except Exception as error:  # it ends this job alone, and its reason is recorded
            return failure_of(error)
        if self._memory is not None:
            self._memory.set()
        return step

    def begin_and_step(
        self,
        task: Task | TrialTask,
        images: Images,
        weights: bytes | None,
        checkpoint: bytes | None,
        *elsewhere: Images,
    ) -> Step | Failure | None:
        """Prepare a job and train its next epoch."""
        self.begin(task, images, weights, checkpoint, *elsewhere)
        return self.step()

    def latencies(self, models: Sequence[Model], n_classes: int) -> list[float]:
        """Time of one image's forward pass through each network, in ms; NaN where it does not repeat."""
        from search.training.speed import latencies_ms

        return latencies_ms(models, n_classes, self._device)

    def features(self, model: EstimatorConfig, images: Images) -> NDArray[np.float32]:
        """What a classifier measures in all images, (n_images, n_features)."""
        from search.training.estimators import measured

        return measured(model, images.pixels[model.input_px])


class Watch:
    """Ends the process when a job has run for too long, wherever it hangs.

    faulthandler's timer runs outside the interpreter, so it also ends code that never releases the GIL.

    Args:
        timeout_s: of the whole job; None sets no limit.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s

    def __enter__(self) -> None:
        """Watch a part of the job."""
        if self._deadline is not None:
            left_s = max(0.001, self._deadline - time.monotonic())
            faulthandler.dump_traceback_later(left_s, exit=True, file=_NOWHERE)

    def __exit__(self, *exception: object) -> None:
        """Stop watching until the next part."""
        faulthandler.cancel_dump_traceback_later()


# The traceback is of no use to a user; the file must stay open as long as the timer runs.
_NOWHERE = os.open(os.devnull, os.O_WRONLY)
