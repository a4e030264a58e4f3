import pytest
import torch

import search.training.device
from search.training.device import choose_device, prepare_worker


@pytest.fixture
def machine(monkeypatch):
    def pretend(*, cuda=False, cuda_bf16=False, **capabilities):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: cuda_bf16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    return pretend


@pytest.mark.parametrize("bf16", [True, False])
def test_a_gpu_is_used_where_it_is_wanted(machine, bf16):
    machine(cuda=True, cuda_bf16=bf16)
    chosen = choose_device(gpu=True)
    assert chosen.device.type == "cuda"
    assert chosen.bf16 is bf16


@pytest.mark.parametrize(("cuda", "gpu"), [(False, True), (True, False), (False, False)])
def test_the_cpu_is_used_where_no_gpu_is_wanted_or_there_is_none(machine, cuda, gpu):
    machine(cuda=cuda, cuda_bf16=True)
    chosen = choose_device(gpu=gpu)
    assert chosen.device == torch.device("cpu")
    assert chosen.bf16 is False


@pytest.mark.parametrize(
    ("capabilities", "bf16"),
    [
        ({}, False),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_multiplies_in_it(machine, capabilities, bf16):
    machine(**capabilities)
    assert choose_device(gpu=False).bf16 is bf16


def test_this_machine_has_a_device():
    chosen = choose_device(gpu=False)
    assert chosen.device == torch.device("cpu")
    assert isinstance(chosen.bf16, bool)


@pytest.mark.parametrize(("gpu_share", "kept_to"), [(0.25, [0.25]), (1, [1.0]), (2, [1.0]), (0, [])])
def test_a_worker_is_kept_to_its_threads_and_its_share_of_the_gpu(machine, monkeypatch, gpu_share, kept_to):
    machine(cuda=True, cuda_bf16=True)
    shares, threads, freed = [], [], []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(search.training.device, "keep_freed_memory", lambda: freed.append(True))
    assert prepare_worker(3, gpu_share=gpu_share).device.type == ("cuda" if gpu_share else "cpu")
    assert (shares, threads, freed) == (kept_to, [3], [True])
