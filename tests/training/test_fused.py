import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import search.training.fused
from search.space import TrainingConfig
from search.training.adamw import AdamW
from search.training.halved import HalvedLinear
from search.training.sgd import SGD

CONFIG = TrainingConfig(epochs=1, lr=0.1, momentum=0.9, weight_decay=0.01)
# What each of them equals in torch, and the kernel that it uses.
OPTIMIZERS = {
    SGD: (partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True), "_fused_sgd_"),
    AdamW: (partial(torch.optim.AdamW, lr=0.1, weight_decay=0.01, fused=True), "_fused_adamw_"),
}


@pytest.fixture(params=OPTIMIZERS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


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
    monkeypatch.setattr(search.training.fused, "WEIGHTS_AT_ONCE", request.param)


def train(model, optimizer, n_steps):
    for x in batches(n_steps):
        train_on(model, optimizer, x)


def train_on(model, optimizer, x):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(x).float().square().mean()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("found", [None, 0.0, 1.0])
@pytest.mark.parametrize("on_device", [False, True])
def test_a_torch_without_the_fused_kernel_computes_the_same(kind, monkeypatch, found, on_device):
    def weights():
        torch.manual_seed(0)
        model = nn.Sequential(HalvedLinear(linear()), nn.Linear(5, 2))
        optimizer = kind(model, CONFIG)
        if on_device:
            optimizer.keep_rate_on(torch.device("cpu"))
        for step in range(5):
            if step == 3:
                optimizer.found_inf = None if found is None else torch.tensor(found)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            model[0].gradient_bf16.copy_(model[0].weight.grad)
            optimizer.step()
        return [*model.parameters(), *optimizer.state().values()]

    fused = weights()
    monkeypatch.delattr(torch, OPTIMIZERS[kind][1])
    for value, expected in zip(weights(), fused, strict=True):
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-6)


def test_the_weights_are_those_of_torchs_own_on_weights_converted_for_every_batch(kind, weights_at_once):
    class Converted(nn.Linear):
        def forward(self, x):
            return F.linear(x.bfloat16(), self.weight.bfloat16(), self.bias.bfloat16())

    model, plain = halved(), Converted(12, 5)
    plain.load_state_dict(linear().state_dict())
    train(model, kind(model, CONFIG), 5)
    train(plain, OPTIMIZERS[kind][0](plain.parameters()), 5)
    assert torch.equal(model[0].weight, plain.weight)
    assert torch.equal(model[0].bias, plain.bias)
    assert not torch.equal(plain.weight, linear().weight)


def test_the_halves_follow_the_weights(kind, weights_at_once):
    model = halved()
    train(model, kind(model, CONFIG), 3)
    assert torch.equal(model[0].weight_bf16, model[0].weight.bfloat16())
    model.load_state_dict(nn.Sequential(linear(seed=1)).state_dict())
    assert torch.equal(model[0].weight, linear(seed=1).weight)
    assert torch.equal(model[0].weight_bf16, model[0].weight.bfloat16())


def test_a_halved_layer_has_the_state_of_a_linear_one():
    assert set(HalvedLinear(linear()).state_dict()) == {"weight", "bias"}


def test_frozen_weights_do_not_change(kind):
    model = nn.Sequential(HalvedLinear(linear().requires_grad_(False)), nn.Linear(5, 2))
    before = copy.deepcopy(model.state_dict())
    train(model, kind(model, CONFIG), 3)
    after = model.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["0.bias"], before["0.bias"])
    assert not torch.equal(after["1.weight"], before["1.weight"])


def test_a_rate_applies_from_the_next_step_on(kind):
    model = halved()
    optimizer = kind(model, CONFIG)
    optimizer.set_rate(0.0)
    train(model, optimizer, 3)
    assert torch.equal(model[0].weight, linear().weight)
    optimizer.set_rate(0.1)
    train(model, optimizer, 1)
    assert not torch.equal(model[0].weight, linear().weight)


def test_a_rate_on_the_device_is_the_same_rate(kind):
    number, tensor = nn.Sequential(linear()), nn.Sequential(linear())
    of_number, of_tensor = kind(number, CONFIG), kind(tensor, CONFIG)
    of_tensor.keep_rate_on(torch.device("cpu"))
    for optimizer in (of_number, of_tensor):
        optimizer.set_rate(0.05)
    train(number, of_number, 3)
    train(tensor, of_tensor, 3)
    assert torch.equal(number[0].weight, tensor[0].weight)


def test_a_state_is_taken_up_exactly(kind):
    unbroken, first, second = halved(), halved(), halved()
    train(unbroken, kind(unbroken, CONFIG), 6)
    begun, resumed = kind(first, CONFIG), kind(second, CONFIG)
    assert begun.state() == {}
    train(first, begun, 3)
    second.load_state_dict(first.state_dict())
    resumed.load(copy.deepcopy(begun.state()))
    for x in batches(6)[3:]:
        train_on(second, resumed, x)
    assert torch.equal(second[0].weight, unbroken[0].weight)


def test_the_state_of_another_network_or_optimizer_is_refused(kind):
    other, same = nn.Sequential(nn.Identity(), linear()), nn.Sequential(linear())
    of_other, of_same = kind(other, CONFIG), next(k for k in OPTIMIZERS if k is not kind)(same, CONFIG)
    train(other, of_other, 1)
    train(same, of_same, 1)
    for optimizer in (of_other, of_same):
        with pytest.raises(KeyError, match=r"0\.bias"):
            kind(halved(), CONFIG).load(optimizer.state())
    with pytest.raises(KeyError, match=r"0\.bias"):
        kind(halved(), CONFIG).load({})


def test_a_step_that_is_not_finite_is_not_counted(kind):
    model, other = halved(), halved()
    optimizer, expected = kind(model, CONFIG), kind(other, CONFIG)
    train(model, optimizer, 2)
    train(other, expected, 2)
    optimizer.found_inf = torch.tensor(1.0)
    train(model, optimizer, 1)
    for name, value in expected.state().items():
        assert torch.equal(optimizer.state()[name], value), name
    assert torch.equal(model[0].weight, other[0].weight)
