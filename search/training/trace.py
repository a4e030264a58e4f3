"""Profiler traces of a worker's epochs."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from search.training.device import Device
from search.training.types import Step


def with_trace(steps: Iterator[Step], device: Device) -> Iterator[Step]:
    """Yield the same steps; the second, if there is one, has a trace of its epoch.

    The first epoch is not typical: it chooses algorithms and allocates buffers.
    """
    yield from islice(steps, 1)
    activities = [ProfilerActivity.CPU]
    if device.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        step = next(steps, None)
    if step is not None:
        yield replace(step, trace=_exported(profiler))
    yield from steps


def _exported(profiler: profile) -> bytes:
    """The trace as a gzipped Chrome trace."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json.gz"
        profiler.export_chrome_trace(str(path))
        return path.read_bytes()
