"""Ray, started quietly or joined, and what it has to give."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from search.common.errors import InputError, StudyFailedError

# Read by Ray at import or start: no metrics prompts, no files of Tune's own loggers, no signal handler that
# swallows Ctrl-C, no rebuilt environments under `uv run`.
_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}


@dataclass(frozen=True)
class Failure:
    """Why a training failed, in one line.

    Attributes:
        again: it may go well with more room, and is worth a second try.
    """

    reason: str
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What Ray has, and the share of it that one trial takes.

    Attributes:
        slots: trainings that run at once.
        dashboard: address of Ray's dashboard; None where it could not be started.
        study: name of the study that it works for, under which Ray's dashboard shows it.
        needs_token: a local Ray asks for the token that `ray get-auth-token` prints.
        timeout_s: longest that a trial or another training may run; None: as long as it takes.
        profile_trace: one trial leaves a trace of an epoch.
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
        """The same machines with another share of a GPU for each trial.

        Raises:
            InputError: there are not as many CPUs or GPUs.
        """
        slots = _slots(self.cpus, self.gpus, self.cpus_per_trial, gpus_per_trial)
        return replace(self, gpus_per_trial=gpus_per_trial, slots=min(slots, self.max_concurrent or slots))

    def slots_for(self, *, wants_room: bool) -> int:
        """How many may run at once; one fewer while one runs again that may have been short of memory."""
        return max(1, self.slots - 1) if wants_room else self.slots

    def loss(self, ran_s: float) -> Failure:
        """Why a worker was lost that had run a training for so many seconds."""
        if self.timeout_s is not None and ran_s >= self.timeout_s:
            return Failure(f"it did not end within {self.timeout_s:g} s (--trial-timeout)")
        return Failure("its worker was lost: killed, perhaps for memory, or gone with its machine", again=True)


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
) -> Iterator[Cluster]:
    """Start a local Ray, or join the one at an address, and leave it at the end.

    Args:
        gpus_per_trial: None takes a quarter of a GPU where there is one; "auto" takes one until it is measured
            which share is best.
        study: its name in Ray's dashboard.
    Raises:
        InputError: a trial asks for more than the cluster has.
        StudyFailedError: Ray does not start, or there is none at the address.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.job_config import JobConfig

    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(
            address=address or "local",  # else RAY_ADDRESS would decide
            include_dashboard=None if address else True,
            dashboard_host="127.0.0.1",
            namespace=study,  # beside each of its actors
            job_config=JobConfig(metadata={"job_name": study}),  # in the table of jobs
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise StudyFailedError(f"Ray did not start: {type(error).__name__}: {first_line}") from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own, which kills what runs and leaves at once
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        resources = ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        machines = Cluster(
            cpus=cpus,
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
        )
        if gpus_per_trial is None:
            yield machines.sharing(0.25 if gpus else 0.0)
        elif gpus_per_trial == "auto":
            yield machines.sharing(1.0 if gpus else 0.0)
        else:
            yield machines.sharing(gpus_per_trial)
    finally:
        ray.shutdown()


def _slots(cpus: float, gpus: float, cpus_per_trial: int, gpus_per_trial: float) -> int:
    """How many trials fit at once."""
    by_cpu = int(cpus // cpus_per_trial)
    if by_cpu < 1:
        raise InputError(f"--cpus-per-trial {cpus_per_trial}: there are only {cpus:g} CPUs")
    if gpus_per_trial == 0:
        return by_cpu
    if gpus_per_trial > max(gpus, 0):
        raise InputError(f"--gpus-per-trial {gpus_per_trial:g}: there are only {gpus:g} GPUs")
    # A trial on a part of a GPU stays on that one.
    by_gpu = int(gpus) * int(1 / gpus_per_trial) if gpus_per_trial < 1 else int(gpus // gpus_per_trial)
    return min(by_cpu, by_gpu)
