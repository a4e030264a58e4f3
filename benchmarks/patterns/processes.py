"""Trials in one process per core, without search or records."""

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier

import torch

from benchmarks.patterns.workload import Workload


def on_every_core(train: Callable[[Workload, int], None], workload: Workload) -> None:
    """Call `train` for every trial, in one process per core; a process that is free takes the next trial."""
    cores = min(len(os.sched_getaffinity(0)), len(workload.points))
    workload.say_slots(cores)
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores, _prepare, (context.Barrier(cores),)) as pool:
        pool.map(partial(train, workload), range(len(workload.points)), chunksize=1)


def _prepare(all_stand: Barrier) -> None:
    torch.set_num_threads(1)
    # No core may train while another still imports.
    all_stand.wait()
