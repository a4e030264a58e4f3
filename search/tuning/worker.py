"""What every worker process does before it trains, and how it says what went wrong."""

import torch

from search.device import Device, choose_device


def prepare_worker(n_threads: int, *, gpu: bool) -> Device:
    """Keep the process to its share of the cores, and find its device."""
    # A process that does not say so takes every core, and the trials beside it wait.
    torch.set_num_threads(n_threads)
    return choose_device(gpu=gpu)


def reason(error: BaseException) -> str:
    """One line on an exception, for tables and console."""
    first_line = str(error).strip().partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return f"out of memory: {first_line}" if first_line else "out of memory"
    return f"{type(error).__name__}: {first_line}"
