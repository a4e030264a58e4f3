import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import search.training.sgd
from search.space import TrainingConfig
from search.training.sgd import SGD, HalvedLinear

CONFIG = TrainingConfig(epochs=1, lr=0.1, momentum=0.9, weight_decay=0.01)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(12, 5)


def batches(n):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 12, generator=generator) for _ in range(n)]


def halved():
    return nn.Sequential(HalvedLinear(linear()))


@pytest.fixture(params=[16, 60, 2**16], ids=lambda n: f"{n} weights at once")
def weights_at_once(request, monkeypatch):
    monkeypatch.setattr(search.training.sgd, "WEIGHTS_AT_ONCE", request.param)


def train(model, optimizer, n_steps):
    for x in batches(n_steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(x).float().square().mean()
        loss.backward()
        optimizer.step()


def test_the_weights_are_those_of_torchs_sgd_on_weights_converted_for_every_batch(weights_at_once):
    class Converted(nn.Linear):
        def forward(self, x):
            return F.linear(x.bfloat16(), self.weight.bfloat16(), self.bias.bfloat16())

    model, plain = halved(), Converted(12, 5)
    plain.load_state_dict(linear().state_dict())
    train(model, SGD(model, CONFIG), 5)
    train(plain, torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, fused=True), 5)
    assert torch.equal(model[0].weight, plain.weight)
    assert torch.equal(model[0].bias, plain.bias)
    assert not torch.equal(plain.weight, linear().weight)


def test_the_halves_follow_the_weights(weights_at_once):
    model = halved()
    train(model, SGD(model, CONFIG), 3)
    assert torch.equal(model[0].weight_bf16, model[0].weight.bfloat16())
    model.load_state_dict(nn.Sequential(linear(seed=1)).state_dict())
    assert torch.equal(model[0].weight, linear(seed=1).weight)
    assert torch.equal(model[0].weight_bf16, model[0].weight.bfloat16())


def test_nothing_but_weights_and_bias_is_kept_of_a_halved_layer():
    assert set(HalvedLinear(linear()).state_dict()) == {"weight", "bias"}


def test_frozen_weights_stay_as_they_are():
    model = nn.Sequential(HalvedLinear(linear().requires_grad_(False)), nn.Linear(5, 2))
    before = copy.deepcopy(model.state_dict())
    train(model, SGD(model, CONFIG), 3)
    after = model.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["0.bias"], before["0.bias"])
    assert not torch.equal(after["1.weight"], before["1.weight"])


def test_a_rate_holds_from_the_next_step_on():
    model = halved()
    optimizer = SGD(model, CONFIG)
    optimizer.set_rate(0.0)
    train(model, optimizer, 3)
    assert torch.equal(model[0].weight, linear().weight)
    optimizer.set_rate(0.1)
    train(model, optimizer, 1)
    assert not torch.equal(model[0].weight, linear().weight)


def test_a_rate_on_the_device_is_the_same_rate():
    number, tensor = nn.Sequential(linear()), nn.Sequential(linear())
    of_number, of_tensor = SGD(number, CONFIG), SGD(tensor, CONFIG)
    of_tensor.keep_rate_on(torch.device("cpu"))
    for optimizer in (of_number, of_tensor):
        optimizer.set_rate(0.05)
    train(number, of_number, 3)
    train(tensor, of_tensor, 3)
    assert torch.equal(number[0].weight, tensor[0].weight)


def test_a_worker_does_not_import_torchs_compiler():
    code = (
        "import sys, torch; from search.training.sgd import SGD; from search.space import TrainingConfig; "
        "from search.training.step import TrainingStep; from search.training.device import choose_device; "
        "from wbcmodels.family import build; from wbcmodels.config import ModelConfig; "
        "from search.training.fit import on_device; device = choose_device(gpu=False); "
        "model = on_device(build(ModelConfig(width=0.125, input_px=12), 0), device); "
        "step = TrainingStep(model, SGD(model, TrainingConfig(epochs=1, lr=0.1)), None, device); "
        "step(torch.randn(4, 3, 12, 12), torch.arange(4), 0.1); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
