import pytest

from search.common.errors import InputError
from search.tuning.cluster import _slots


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
