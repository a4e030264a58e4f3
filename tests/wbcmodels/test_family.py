import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wbcmodels import family
from wbcmodels.config import PLACEMENTS, ModelConfig


def tiny(**changes):
    return ModelConfig(**{"width": 0.125, "input_px": 13} | changes)


# Without a residual block there is no shortcut and no addition to vary.
VARIANTS = [
    tiny(placement=placement, norm=norm, shortcut=shortcut, residual_relu=residual_relu)
    for placement in PLACEMENTS
    for norm in ("batch", "group", "instance", "none")
    for shortcut in ("identity", "projection")
    for residual_relu in ("after", "before")
    if placement != "none" or (shortcut, residual_relu) == ("identity", "after")
]
PLACED = [tiny(placement=placement) for placement in PLACEMENTS]


def build(config, seed):
    return config.build(n_classes=3, seed=seed)


def name_of(config):
    return f"{config.placement}-{config.norm}-{config.shortcut}-{config.residual_relu}"


def random_images(config, n_images=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_images, 3, config.input_px, config.input_px, generator=generator)


def with_random_norms(model, seed=0):
    """Scales, shifts and statistics as after a training: a network that ignored one would give other outputs."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, 0.2, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.2, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.2, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=generator)
    return model


def unit_by_hand(state, name, x, config):
    """Convolution and norm from a state dict, in evaluation mode."""
    kernel = state[f"{name}.conv.weight"]
    x = F.conv2d(x, kernel, state.get(f"{name}.conv.bias"), padding=kernel.shape[-1] // 2)
    if config.norm == "none":
        return x
    scale, shift = (state[f"{name}.norm.{part}"][:, None, None] for part in ("weight", "bias"))
    if config.norm == "batch":
        mean, variance = (state[f"{name}.norm.running_{part}"][:, None, None] for part in ("mean", "var"))
    else:
        n_groups = x.shape[1] if config.norm == "instance" else family.GROUP_NORM_GROUPS
        grouped = x.unflatten(1, (n_groups, -1)).flatten(2)
        repeats = x.shape[1] // n_groups
        mean, variance = (
            value.repeat_interleave(repeats, 1)[:, :, None, None]
            for value in (grouped.mean(2), grouped.var(2, unbiased=False))
        )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def stage_by_hand(state, stage, x, config):
    """One stage as the paper and the docstrings describe it."""
    name = f"stage{stage}"
    if stage not in config.residual_stages:
        x = unit_by_hand(state, f"{name}.unit", x, config).relu()
    else:
        first = unit_by_hand(state, f"{name}.unit1", x, config).relu()
        second = unit_by_hand(state, f"{name}.unit2", first, config).relu()
        residual = unit_by_hand(state, f"{name}.unit3", second, config)
        if config.residual_relu == "before":
            residual = residual.relu()
        identity = config.shortcut == "identity"
        shortcut = first if identity else unit_by_hand(state, f"{name}.projection", x, config)
        x = (residual + shortcut).relu()
    return x if stage == 3 else F.max_pool2d(x, 2)


@pytest.mark.parametrize("config", VARIANTS, ids=name_of)
def test_a_network_computes_what_its_documentation_says(config):
    model = with_random_norms(build(config, seed=1)).eval()
    images, state = random_images(config), model.state_dict()
    x, outputs = images, {}
    for stage in model.stages:
        keep = lambda module, inputs, maps, stage=stage: outputs.update({stage: maps})  # noqa: E731
        model.get_submodule(stage).register_forward_hook(keep)
    model(images)
    assert list(outputs) == ["stage1", "stage2", "stage3"]
    for number, stage in enumerate(config.stages(), start=1):
        x = stage_by_hand(state, number, x, config)
        assert x.shape == (4, stage.out_channels, stage.out_px, stage.out_px)
        assert torch.allclose(outputs[f"stage{number}"], x, rtol=1e-4, atol=1e-4)
    x = F.linear(x.permute(0, 2, 3, 1).flatten(1), state["fc1.weight"], state["fc1.bias"]).relu()
    assert torch.allclose(model.features(images), x, rtol=1e-4, atol=1e-4)
    logits = F.linear(x, state["fc2.weight"], state["fc2.bias"])
    assert torch.allclose(model(images), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", VARIANTS, ids=name_of)
def test_every_parameter_gets_a_gradient(config):
    model = build(config, seed=0).train()
    logits = model(random_images(config))
    assert logits.shape == (4, 3)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_smallest_accepted_input_works(placement):
    config = tiny(placement=placement, input_px=4)
    assert build(config, seed=0).eval()(random_images(config)).isfinite().all()


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("shortcut", ["identity", "projection"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_he_initialisation(placement, shortcut, norm):
    config = tiny(placement=placement, shortcut=shortcut, norm=norm)
    model = build(config, seed=0)
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        weight = module.weight.detach()
        gain = 1 if module is model.fc2 else 2
        wanted = math.sqrt(gain / weight[0].numel())
        # Five standard errors of a standard deviation and of a mean.
        assert abs(weight.std().item() / wanted - 1) < 5 / math.sqrt(2 * weight.numel())
        assert abs(weight.mean().item()) < 5 * wanted / math.sqrt(weight.numel())
        if module.bias is not None:
            assert not module.bias.any()


@pytest.mark.parametrize("config", PLACED, ids=name_of)
def test_weights_depend_on_the_seed_only(config):
    state = torch.get_rng_state()
    first = build(config, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)  # torch's global generator is not used
    torch.manual_seed(2)
    again, other = build(config, seed=7).state_dict(), build(config, seed=8).state_dict()
    for name, value in first.items():
        assert torch.equal(value, again[name])
        if name.endswith((".conv.weight", "fc1.weight", "fc2.weight")):
            assert not torch.equal(value, other[name])


def test_dropout_acts_in_training_only():
    config = tiny(norm="none", dropout=0.5)
    model, images = build(config, seed=0), random_images(config)
    assert not torch.equal(model.train()(images), model(images))
    assert torch.equal(model.eval()(images), model(images))
    assert model.dropout.p == config.dropout
