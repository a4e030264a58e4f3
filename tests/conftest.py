import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are slower on many threads, and sums in another order give other last digits."""
    torch.set_num_threads(1)
