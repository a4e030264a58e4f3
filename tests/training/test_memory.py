import subprocess
import sys

import pytest

# In a process of its own: what is told to the C library holds to the process's end.
FAULTS = """
import resource, sys
import torch
from search.training.device import keep_freed_memory

told = keep_freed_memory() if sys.argv[1] == "keep" else None
torch.set_num_threads(1)
for _ in range(10):
    torch.ones(2**24)  # 64 MB, above what glibc ever keeps of itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    told, faults = done.stdout.split()
    return told, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
def test_freed_memory_is_used_again_without_new_pages():
    _, without = page_faults("leave")
    told, kept = page_faults("keep")
    assert told == "True"
    assert kept < without / 10
