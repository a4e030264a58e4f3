"""The trainings of a shift matrix: which they are, and how processes of their own run them."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.common.errors import StudyFailedError
from search.common.seeds import derive_seed
from search.data.splits import stratified_folds
from search.shift.laboratories import Laboratory, Pool
from search.shift.network import TrainedKind
from search.space import Preparation
from search.space.load import import_file
from search.training.types import Images, Task

if TYPE_CHECKING:  # the command starts, and refuses bad input, before torch is imported
    from search.training.device import Device

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: of a laboratory's network, on one fold of one partition.

    Attributes:
        task: its `val` are the fold's validation images and all images of the other laboratories.
    """

    laboratory: str
    seed: int
    fold: int
    task: Task

    @property
    def name(self) -> str:
        """Name of its file, without extension."""
        return f"{self.laboratory}-seed{self.seed}-fold{self.fold}"

    @property
    def cost(self) -> float:
        """What it takes, in images trained on."""
        return float(self.task.configuration.training.epochs * len(self.task.train))


def plan_trainings(pool: Pool, kind: TrainedKind, n_seeds: int, n_folds: int) -> list[Training]:
    """All trainings, so ordered that any number of them covers laboratories and folds evenly.

    Raises:
        InputError: a laboratory has fewer images or groups than folds; names both numbers.
    """
    largest = max(int(laboratory.counts.sum()) for laboratory in pool.laboratories)
    trainings = []
    for seed in range(n_seeds):
        by_laboratory = [
            _of_laboratory(pool, laboratory, kind, largest, seed, n_folds) for laboratory in pool.laboratories
        ]
        trainings += [training for fold in zip(*by_laboratory, strict=True) for training in fold]
    return trainings


def _of_laboratory(
    pool: Pool, laboratory: Laboratory, kind: TrainedKind, largest: int, seed: int, n_folds: int
) -> list[Training]:
    own = laboratory.images
    groups = pool.groups[own] if laboratory.name in pool.grouped else None
    partition_seed = derive_seed(seed, "shift", "folds", laboratory.name)
    splits = stratified_folds(pool.labels[own], groups, n_folds=n_folds, seed=partition_seed)
    others = np.setdiff1d(np.arange(len(pool.labels)), own)
    # The pool's images are prepared already, each laboratory's by themselves.
    configuration = replace(kind.for_laboratory(len(own), largest), preparation=Preparation())
    return [
        Training(
            laboratory=laboratory.name,
            seed=seed,
            fold=fold,
            task=Task(
                configuration=configuration,
                train=own[split.train],
                val=np.concatenate([own[split.val], others]),
                seed=derive_seed(seed, "shift", laboratory.name, fold),
                validate_once=True,
            ),
        )
        for fold, split in enumerate(splits)
    ]


def run_trainings(
    trainings: Sequence[Training],
    pool: Pool,
    code: Path | None,
    done: Callable[[Training, Probabilities], None],
) -> None:
    """Train on the GPU if there is one, else in one process for each core, with one thread each.

    Args:
        code: file that defines the network; None for one of this program's.
        done: called with each training as it ends, and with the probabilities of the images of its task's `val`.
    Raises:
        StudyFailedError: a training failed, or its process ended; names the training.
        KeyboardInterrupt: the user stopped it; no process is left behind.
    """
    with TemporaryDirectory(prefix="wbc-search-") as shared:
        # Processes map the file, so that the images are in memory once.
        np.save(Path(shared) / "pixels.npy", pool.pixels)
        executor = ProcessPoolExecutor(
            _n_processes(len(trainings)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(Path(shared), pool.labels, len(pool.classes), code),
        )
        try:
            # As bytes: a network of a space's own can be unpickled only after its file is imported.
            running = {executor.submit(_train, pickle.dumps(each.task)): each for each in trainings}
            for future in as_completed(running):
                done(running[future], _result(running[future], future))
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


def _result(training: Training, future: "Future[Probabilities]") -> Probabilities:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise StudyFailedError(
            "a process that trained has ended, as it does when memory runs out; the same command goes on"
        ) from error
    except Exception as error:  # the network may be anybody's code
        raise StudyFailedError(f"training {training.name}: {type(error).__name__}: {error}") from error


def _n_processes(n_trainings: int) -> int:
    import torch

    if torch.cuda.is_available():
        return 1
    # Fewer than the machine has where the user's share of it is limited; not every system can tell.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, n_trainings)


class _Worker:
    """What a process that trains keeps between trainings; set once, by `_start`."""

    images: Images
    device: "Device"


def _start(shared: Path, labels: NDArray[np.int64], n_classes: int, code: Path | None) -> None:
    """Prepare a process that trains."""
    import torch

    from search.training.device import prepare_worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it as well; the command ends it
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if code is not None:
        import_file(code)
    pixels = np.load(shared / "pixels.npy", mmap_mode="r")
    _Worker.images = Images(pixels={pixels.shape[1]: pixels}, labels=labels, n_classes=n_classes)
    _Worker.device = prepare_worker(1, gpu_share=float(torch.cuda.is_available()))


def _end_with(parent: "multiprocessing.process.BaseProcess") -> None:
    """End this process when its parent has ended, however that came about."""
    parent.join()
    os._exit(1)


def _train(task: bytes) -> Probabilities:
    from search.training.folds import run_task

    *_, last = run_task(pickle.loads(task), _Worker.images, _Worker.device)
    assert last.score is not None  # the last epoch has one
    return last.score.probabilities
