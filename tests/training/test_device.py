import json
import subprocess
import sys
from unittest.mock import Mock, call

import pytest
import torch

import search.training.device
from search.training.device import choose_device, in_double, prepare_worker


@pytest.fixture
def machine(monkeypatch):
    def pretend(*, cuda=False, cuda_bf16=False, mps=False, **capabilities):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: cuda_bf16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    return pretend


@pytest.mark.parametrize("bf16", [True, False])
def test_a_gpu_is_used_if_one_is_wanted(machine, bf16):
    machine(cuda=True, cuda_bf16=bf16)
    chosen = choose_device(gpu=True)
    assert chosen.device.type == "cuda"
    assert chosen.bf16 is bf16


@pytest.mark.parametrize(
    ("cuda", "gpu", "kind"), [(False, True, "mps"), (True, True, "cuda"), (False, False, "cpu")]
)
def test_apples_gpu_is_used_in_float32_if_one_is_wanted_and_there_is_no_other(machine, cuda, gpu, kind):
    machine(cuda=cuda, cuda_bf16=True, mps=True)
    chosen = choose_device(gpu=gpu)
    assert chosen.device.type == kind
    assert chosen.bf16 is (kind == "cuda")


def test_float64_is_exact_wherever_it_is_computed():
    values = torch.tensor([1 / 3, -7.0])
    assert in_double(values).dtype == torch.float64
    assert (in_double(values) == values).all()
    # This machine has no such tensors: what counts is that they are moved before they are converted.
    moves = Mock(device=torch.device("mps"))
    in_double(moves)
    assert moves.mock_calls == [call.cpu(), call.cpu().double()]


@pytest.mark.parametrize(("cuda", "gpu"), [(False, True), (True, False), (False, False)])
def test_the_cpu_is_used_if_no_gpu_is_wanted_or_there_is_none(machine, cuda, gpu):
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
def test_a_cpu_computes_in_bfloat16_if_it_multiplies_in_it(machine, capabilities, bf16):
    machine(**capabilities)
    assert choose_device(gpu=False).bf16 is bf16


@pytest.mark.parametrize(("gpu_share", "limits"), [(0.25, [0.25]), (1, [1.0]), (2, [1.0]), (0, [])])
def test_a_worker_is_limited_to_its_threads_and_its_share_of_the_gpu(machine, monkeypatch, gpu_share, limits):
    machine(cuda=True, cuda_bf16=True)
    shares, threads, freed = [], [], []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(search.training.device, "keep_freed_memory", lambda: freed.append(True))
    assert prepare_worker(3, gpu_share=gpu_share).device.type == ("cuda" if gpu_share else "cpu")
    assert (shares, threads, freed) == (limits, [3], [True])


# In a process of its own: what the C library is told applies until the process ends.
WORKER = """
import json, resource, sys
import torch
from search.space import TrainingConfig
from search.training.device import choose_device, keep_freed_memory
from search.training.fit import on_device
from search.training.optimizers import make_optimizer
from search.training.step import TrainingStep
from wbcmodels.config import ModelConfig

torch.set_num_threads(1)

def page_faults():
    for _ in range(5):
        torch.ones(2**24)  # 64 MB, above what glibc keeps by default
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults, accepted = page_faults(), keep_freed_memory()
device = choose_device(gpu=False)
model = on_device(ModelConfig(width=0.125, input_px=12).build(5, 0), device)
for name in ("sgd", "adamw"):
    optimizer = make_optimizer(model, TrainingConfig(epochs=1, lr=0.1, optimizer=name))
    step = TrainingStep(model, optimizer, torch.nn.functional.cross_entropy, device)
    step(torch.randn(4, 3, 12, 12), torch.arange(4), 0.1)
print(json.dumps({
    "accepted": accepted, "faults": faults, "faults_after": page_faults(),
    "heavy": [name for name in ("torch._dynamo", "sklearn", "scipy", "pandas") if name in sys.modules],
}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps freed memory on request")
def test_a_worker_reuses_freed_memory_and_trains_without_heavy_imports():
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["accepted"] is True
    assert found["faults_after"] < found["faults"] / 10
    assert found["heavy"] == []
