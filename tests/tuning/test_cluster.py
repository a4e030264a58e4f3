import platform

import pytest
import ray

from search.common.errors import InputError, StudyFailedError
from search.tuning.cluster import _slots, ray_cluster


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpus_per_trial", "gpus_per_trial", "slots"),
    [
        (2, 0, 1, 0, 2),
        (2, 0, 2, 0, 1),
        (7, 0, 2, 0, 3),
        (16, 1, 1, 0.25, 4),  # four on a GPU
        (16, 2, 1, 0.25, 8),
        (3, 2, 1, 0.25, 3),  # the CPUs are what is short
        (16, 2, 1, 0.4, 4),  # a third trial would lie across both GPUs
        (16, 4, 1, 2, 2),
        (16, 1, 1, 0, 16),
    ],
)
def test_as_many_trials_as_the_resources_allow(cpus, gpus, cpus_per_trial, gpus_per_trial, slots):
    assert _slots(cpus, gpus, cpus_per_trial, gpus_per_trial) == slots


@pytest.mark.parametrize(("cpus_per_trial", "gpus_per_trial", "flag"), [(3, 0, "--cpus"), (1, 1.5, "--gpus")])
def test_more_than_there_is_names_the_flag(cpus_per_trial, gpus_per_trial, flag):
    with pytest.raises(InputError, match=flag):
        _slots(2, 1, cpus_per_trial, gpus_per_trial)


@pytest.mark.parametrize(
    ("system", "machine", "share", "counted"),
    [
        ("Darwin", "arm64", 1.0, 1),
        ("Darwin", "arm64", "auto", 1),
        ("Darwin", "arm64", 0.0, None),
        ("Darwin", "arm64", None, None),
        ("Darwin", "x86_64", 1.0, None),
        ("Linux", "aarch64", 1.0, None),
    ],
)
def test_ray_is_told_of_apples_gpu_if_a_share_is_asked_for(monkeypatch, system, machine, share, counted):
    told = []

    def refuse(**given):
        told.append(given["num_gpus"])
        raise RuntimeError("no Ray here")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    cluster = ray_cluster(
        address=None, cpus_per_trial=1, gpus_per_trial=share, max_concurrent=None, timeout_s=None,
        profile_trace=False, study="study",
    )  # fmt: skip
    with pytest.raises(StudyFailedError, match="no Ray here"), cluster:
        pass
    assert told == [counted]
