import pytest
import torch
from tiny_study import SPACE, draw_folder


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=6, help="how often the fault test kills a study")


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
