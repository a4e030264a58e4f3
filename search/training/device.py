"""Devices: what a worker computes on, and its share of the machine."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

# Parameters of mallopt() in malloc.h; only glibc has them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_ALL, _MB = 2**31 - 1, 2**20


@dataclass(frozen=True)
class Device:
    """A torch device, and whether matrix products are computed in bfloat16 there."""

    device: torch.device
    bf16: bool


def prepare_worker(n_threads: int, *, gpu_share: float) -> Device:
    """Limit the process to its share of the machine, and choose its device.

    Args:
        gpu_share: share of a GPU and its memory; 0 trains on the CPU.
    """
    # By default a process takes every core, and the other workers wait.
    torch.set_num_threads(n_threads)
    keep_freed_memory()
    device = choose_device(gpu=gpu_share > 0)
    if device.device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # tf32 for what is not in bfloat16
        # A training that needs more fails by itself, and not the trainings next to it.
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_share))
    return device


def choose_device(*, gpu: bool) -> Device:
    """Choose the GPU if one is wanted and available, NVIDIA's before Apple's, else the CPU.

    bfloat16 is used only where the hardware multiplies in it; elsewhere torch would convert back and forth.
    """
    if gpu and torch.cuda.is_available():
        return Device(torch.device("cuda"), bf16=torch.cuda.is_bf16_supported(including_emulation=False))
    if gpu and torch.backends.mps.is_available():
        return Device(torch.device("mps"), bf16=False)  # only the newest of them have it
    cpu = torch.cpu.get_capabilities()
    return Device(torch.device("cpu"), bf16=bool(cpu.get("amx_bf16") or cpu.get("avx512_bf16")))


def in_double(tensor: Tensor) -> Tensor:
    """The tensor in float64; from Apple's GPUs, which have no such numbers, on the CPU."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def keep_freed_memory() -> bool:
    """Keep freed memory for the next allocation instead of returning it to the system.

    Every step allocates and frees the same large tensors. By default glibc returns each to the system, and the
    next step pays for all its pages again.

    Returns:
        Whether the C library has accepted this.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _ALL, _M_TOP_PAD: 64 * _MB}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
