"""What a worker computes on, found out at run time."""

import ctypes
from dataclasses import dataclass

import torch

# Of malloc.h; glibc alone has them, and elsewhere nothing is done.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_ALL, _MB = 2**31 - 1, 2**20


@dataclass(frozen=True)
class Device:
    """A torch device and whether its matrix products run in bfloat16."""

    device: torch.device
    bf16: bool


def prepare_worker(n_threads: int, *, gpu_share: float) -> Device:
    """Keep the process to its share of the machine, and find its device.

    Args:
        gpu_share: of a GPU and its memory; 0 trains on the CPU.
    """
    # A process that does not say so takes every core, and the trials beside it wait.
    torch.set_num_threads(n_threads)
    keep_freed_memory()
    device = choose_device(gpu=gpu_share > 0)
    if device.device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # tf32, for what is not in bfloat16
        # A trial that wants more fails by itself, and takes nothing from those beside it.
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_share))
    return device


def choose_device(*, gpu: bool) -> Device:
    """The GPU where one is wanted and usable, else the CPU.

    bfloat16 pays only where matrices are multiplied in it: elsewhere torch converts back and forth.
    """
    if gpu and torch.cuda.is_available():
        return Device(torch.device("cuda"), bf16=torch.cuda.is_bf16_supported(including_emulation=False))
    cpu = torch.cpu.get_capabilities()
    return Device(torch.device("cpu"), bf16=bool(cpu.get("amx_bf16") or cpu.get("avx512_bf16")))


def keep_freed_memory() -> bool:
    """Keep memory that is freed for the next allocation, and do not give it back to the system.

    A step makes and frees the same large tensors as the one before. By default glibc gives each back to the
    system, and the next step pays for every page of it again.

    Returns:
        Whether the C library could be told.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _ALL, _M_TOP_PAD: 64 * _MB}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
