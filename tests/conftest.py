import pytest
import torch
from tiny_study import SPACE, draw_folder

from search.records.ledger import Ledger


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=5, help="how often the fault test kills a study")


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are slower on many threads, and sums in another order give other last digits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("data") / "cells", side=16, n_images=14, seed=0)


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("data") / "others", side=20, n_images=8, seed=1)


@pytest.fixture(scope="session")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "tiny.py"
    path.write_text(SPACE)
    return path


@pytest.fixture
def open_ledger(tmp_path):
    """Opens the folder's ledger, as often as a test wants."""
    opened = []

    def make(**options):
        opened.append(Ledger(tmp_path, **options))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger._journal.close()  # and no more than that, as when the process dies
