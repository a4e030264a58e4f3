"""The Ray cluster of a study: started locally or joined, with its resources."""

import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from search.common.errors import InputError, StudyFailedError
from search.space.load import is_space_module

# Read by Ray when it is imported or starts. For Tune's settings, see `search.tuning.tune`.
_SETTINGS = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, workers would rebuild the environment
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it, Ray warns that this default will change
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",  # what Apple's GPUs lack runs on the CPU
}


CONNECT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Ray's resources, and the share of them that one training takes.

    Attributes:
        slots: trainings that run at once.
        dashboard: address of Ray's dashboard; None where it could not be started.
        needs_token: a local Ray asks for the token that `ray get-auth-token` prints.
        timeout_s: longest that a trial or another training may run; None sets no limit.
        profile_trace: one trial leaves a trace of an epoch.
        study: name of the study, shown in Ray's dashboard.
    """

    cpus: float
    gpus: float
    cpus_per_trial: int
    gpus_per_trial: float
    slots: int
    dashboard: str | None
    needs_token: bool
    timeout_s: float | None = None
    max_concurrent: int | None = None
    profile_trace: bool = False
    study: str = "study"

    def sharing(self, gpus_per_trial: float) -> "Cluster":
        """The same machines with another share of a GPU for each training.

        Raises:
            InputError: a training asks for more CPUs or GPUs than there are.
        """
        slots = _slots(self.cpus, self.gpus, self.cpus_per_trial, gpus_per_trial)
        return replace(self, gpus_per_trial=gpus_per_trial, slots=min(slots, self.max_concurrent or slots))


@contextmanager
def ray_cluster(
    *,
    address: str | None,
    cpus_per_trial: int,
    gpus_per_trial: float | Literal["auto"] | None,
    max_concurrent: int | None,
    timeout_s: float | None,
    profile_trace: bool,
    study: str,
    dashboard: bool = True,
) -> Iterator[Cluster]:
    """Start a local Ray, or join the one at an address, and leave it at the end.

    Args:
        gpus_per_trial: None takes a quarter of a GPU where Ray finds one; "auto" takes a whole one, until the best
            share is measured. Apple's GPU is used only if a share is asked for.
        study: its name in Ray's dashboard.
        dashboard: start it with a local Ray, which takes a second.
    Raises:
        InputError: a training asks for more than the cluster has.
        StudyFailedError: Ray does not start, or there is none at the address.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if address not in (None, "auto"):
        _require_listener(address)
    import ray
    from ray.job_config import JobConfig

    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(
            address=address or "local",  # else RAY_ADDRESS would decide
            # Ray does not see Apple's GPU; None leaves the counting to it.
            num_gpus=1 if address is None and gpus_per_trial and _is_apple_silicon() else None,
            include_dashboard=None if address else dashboard,
            dashboard_host="127.0.0.1",
            namespace=study,  # shown with each of its actors
            job_config=JobConfig(metadata={"job_name": study}),  # shown in the table of jobs
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        if "AF_UNIX" in first_line:
            first_line = (
                "the folder of temporary files has too long a name for its sockets; set TMPDIR to a shorter one"
            )
        raise StudyFailedError(f"Ray did not start: {first_line or type(error).__name__}") from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler kills what runs and exits at once
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        resources = ray.cluster_resources()
        gpus = resources.get("GPU", 0.0)
        if not isinstance(gpus_per_trial, float | int):
            whole = 1.0 if gpus else 0.0
            gpus_per_trial = whole if gpus_per_trial == "auto" else whole / 4
        yield Cluster(
            cpus=resources.get("CPU", 0.0),
            gpus=gpus,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=0.0,
            slots=1,
            dashboard=context.dashboard_url or None,
            needs_token=address is None,
            timeout_s=timeout_s,
            max_concurrent=max_concurrent,
            profile_trace=profile_trace,
            study=study,
        ).sharing(gpus_per_trial)
    finally:
        ray.shutdown()


def _is_apple_silicon() -> bool:
    return (platform.system(), platform.machine()) == ("Darwin", "arm64")


def _require_listener(address: str) -> None:
    """Raise StudyFailedError if nothing listens at an address: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--address {address}: must be auto or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise StudyFailedError(f"--address {address}: no Ray cluster there: {error.strerror or error}") from None


def carry_code(module: str) -> None:
    """Send the code of a space's file to workers with what refers to it: other machines do not have the file."""
    import ray

    if is_space_module(module):
        ray.cloudpickle.register_pickle_by_value(sys.modules[module])


def _slots(cpus: float, gpus: float, cpus_per_trial: int, gpus_per_trial: float) -> int:
    """How many trainings fit at once."""
    by_cpu = int(cpus // cpus_per_trial)
    if by_cpu < 1:
        raise InputError(f"--cpus-per-trial {cpus_per_trial}: only {cpus:g} CPUs")
    if gpus_per_trial == 0:
        return by_cpu
    if gpus_per_trial > max(gpus, 0):
        raise InputError(f"--gpus-per-trial {gpus_per_trial:g}: only {gpus:g} GPUs")
    # A training on a part of a GPU cannot span two of them.
    by_gpu = int(gpus) * int(1 / gpus_per_trial) if gpus_per_trial < 1 else int(gpus // gpus_per_trial)
    return min(by_cpu, by_gpu)
