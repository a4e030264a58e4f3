import copy

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


@pytest.mark.parametrize("found", [None, 0.0, 1.0])
@pytest.mark.parametrize("on_device", [False, True])
def test_a_torch_without_the_fused_kernel_computes_the_same(monkeypatch, found, on_device):
    def weights():
        torch.manual_seed(0)
        model = nn.Sequential(HalvedLinear(linear()), nn.Linear(5, 2))
        optimizer = SGD(model, CONFIG)
        if on_device:
            optimizer.keep_rate_on(torch.device("cpu"))
        train(model, optimizer, 3)
        optimizer.found_inf = None if found is None else torch.tensor(found)
        train(model, optimizer, 2)
        return [*model.parameters(), *optimizer.momentum.values()]

    fused = weights()
    monkeypatch.delattr(torch, "_fused_sgd_")
    for value, expected in zip(weights(), fused, strict=True):
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-6)


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


def test_a_halved_layer_has_the_state_of_a_linear_one():
    assert set(HalvedLinear(linear()).state_dict()) == {"weight", "bias"}


def test_frozen_weights_do_not_change():
    model = nn.Sequential(HalvedLinear(linear().requires_grad_(False)), nn.Linear(5, 2))
    before = copy.deepcopy(model.state_dict())
    train(model, SGD(model, CONFIG), 3)
    after = model.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["0.bias"], before["0.bias"])
    assert not torch.equal(after["1.weight"], before["1.weight"])


def test_a_rate_applies_from_the_next_step_on():
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
