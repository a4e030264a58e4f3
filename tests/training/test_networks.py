"""What holds for every network and optimizer: they train, resume exactly, and are saved and built again."""

from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import search.training.folds
from search.common.seeds import derive_seed
from search.data.splits import Split
from search.space import Configuration, TrainingConfig
from search.training.checkpoint import Checkpoint
from search.training.device import Device
from search.training.folds import run_task, run_trial
from search.training.trainedmodel import TrainedModel, load_model, save_model
from search.training.types import Images, Normalisation, Task
from wbcmodels.classics import NETWORKS as NAMES
from wbcmodels.classics import Classic
from wbcmodels.config import ModelConfig
from wbcmodels.efficientnet_lite import EfficientNetLite0
from wbcmodels.lenet import LeNet5
from wbcmodels.network import build_network, head_name, initialise, model_size
from wbcmodels.timm_models import Timm

CPU = Device(torch.device("cpu"), bf16=False)
N_CLASSES, N_IMAGES, TRAIN = 3, 24, 16


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Only what a configuration must have; its module names nothing."""

    input_px: int = 16
    channels: int = 8

    def build(self, n_classes, seed):
        features = [nn.Conv2d(3, self.channels, 3), nn.BatchNorm2d(self.channels), nn.ReLU()]
        return nn.Sequential(
            *features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * self.channels, n_classes)
        )


SMALL = {
    "family": ModelConfig(placement="1", width=0.125, input_px=16),
    "of a space": Plain(),
    "lenet5": LeNet5(input_px=16),
    "lenet5 in colour": LeNet5(colour=True, input_px=16),
}
LARGE = {
    **{name: Classic(name=name, input_px=32) for name in NAMES},
    "efficientnet_lite0": EfficientNetLite0(input_px=32, pretrained=False),
    "efficientnet_lite0, pretrained": EfficientNetLite0(input_px=32),
    "timm": Timm(name="test_resnet", input_px=32),
}
NETWORKS = SMALL | LARGE
TRAININGS = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
    "muon": {"optimizer": "muon", "schedule": "one_cycle"},
    "clipped and smoothed": {"clip_norm": 0.5, "label_smoothing": 0.1, "schedule": "constant"},
    "averaged": {"ema_decay": 0.9},
    "muon, averaged": {"optimizer": "muon", "ema_decay": 0.8, "class_weighting": "balanced"},
    "head": {"trained": "head", "optimizer": "adamw"},
}


def training(**changes):
    return TrainingConfig(**{"epochs": 3, "lr": 0.003, "batch_size": 8} | changes)


def images(side):
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, side, side, 3), dtype=np.uint8)
    return Images(pixels={side: pixels}, labels=np.arange(N_IMAGES) % N_CLASSES, n_classes=N_CLASSES)


def task(model, **changes):
    everything = np.arange(N_IMAGES)
    return Task(
        configuration=Configuration(model=model, training=training(**changes)),
        train=everything[:TRAIN],
        val=everything[TRAIN:],
        seed=5,
        keep_weights=True,
    )


def same(weights, other):
    one, two = load(weights), load(other)
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.fixture(autouse=True)
def every_epoch_has_a_checkpoint(monkeypatch):
    monkeypatch.setattr(search.training.folds, "SMALL_CHECKPOINT_BYTES", 10**10)


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def model(request):
    return request.param


def pairs():
    """Networks and how they are trained: every way for small ones, one for each large one, which takes seconds."""
    chosen = [(name, way) for name in SMALL for way in TRAININGS] + list(
        zip(LARGE, cycle(TRAININGS), strict=False)
    )
    for name, way in chosen:
        marks = [pytest.mark.slow] if name in LARGE else []
        yield pytest.param(NETWORKS[name], TRAININGS[way], id=f"{name}-{way}", marks=marks)


class CountedByHand(TorchFunctionMode):
    """Multiply-accumulates of every convolution and linear layer, from the shapes that pass through it."""

    macs = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in (F.conv2d, F.linear):
            self.macs += output.numel() * args[1][0].numel()
        return output


def test_size_is_what_its_layers_compute(model):
    network = build_network(model, N_CLASSES, seed=0).eval()
    with torch.no_grad(), CountedByHand() as counted:
        network(torch.zeros(1, 3, model.input_px, model.input_px))
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    assert model_size(model, N_CLASSES) == (trained, counted.macs)


def test_the_seed_decides_the_weights_and_nothing_else_is_drawn_from(model):
    state = torch.get_rng_state()
    one, again, other = (build_network(model, N_CLASSES, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_the_head_gives_the_logits(model):
    network = build_network(model, N_CLASSES, seed=0)
    assert network.get_submodule(head_name(network)).out_features == N_CLASSES


@pytest.mark.parametrize(("model", "changes"), list(pairs()))
def test_a_training_resumes_exactly_after_any_epoch(model, changes):
    one, data = task(model, **changes), images(model.input_px)
    *steps, last = run_task(one, data, CPU)
    assert len(steps) == 2
    for step in steps:
        *_, again = run_task(one, data, CPU, checkpoint=Checkpoint.from_bytes(step.checkpoint))
        assert np.array_equal(again.score.probabilities, last.score.probabilities)
        assert same(again.score.weights, last.score.weights)


@pytest.mark.parametrize("changes", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_training_changes_what_it_should(model, changes):
    one = task(model, **changes)
    *_, last = run_task(one, images(model.input_px), CPU)
    start = build_network(model, N_CLASSES, derive_seed(one.seed, "weights"))
    initialise(model, start)
    after, head = load(last.score.weights), head_name(start)
    changed = {name for name, value in start.named_parameters() if not torch.equal(value, after[name])}
    parameters = {name for name, _ in start.named_parameters()}
    of_head = {name for name in parameters if name.startswith(f"{head}.")}
    assert changed == (of_head if changes.get("trained") == "head" else parameters)


@pytest.mark.parametrize(
    ("neutral", "other"),
    [
        ({"ema_decay": 0.0}, {"ema_decay": 0.9}),
        ({"clip_norm": 1e9}, {"clip_norm": 1e-3}),
        ({"label_smoothing": 0.0}, {"label_smoothing": 0.2}),
    ],
    ids=lambda changes: "".join(changes),
)
def test_an_option_at_its_neutral_value_changes_nothing_and_elsewhere_it_does(neutral, other):
    def trained(changes):
        *_, last = run_task(task(Plain(), **changes), images(16), CPU)
        return last.score.weights

    assert same(trained(neutral), trained({}))
    assert not same(trained(other), trained({}))


@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_a_transfer_takes_over_all_but_the_head(model):
    *_, source = run_task(task(model), images(model.input_px), CPU)
    standing = replace(task(model, lr=0.0, weight_decay=0.0), way="fine_tuned")
    *_, moved = run_task(standing, images(model.input_px), CPU, weights=source.score.weights)
    before, after = load(source.score.weights), load(moved.score.weights)
    head = head_name(build_network(model, N_CLASSES, seed=0)) + "."
    for name, value in before.items():
        if name.endswith((".weight", ".bias")):
            assert torch.equal(value, after[name]) != name.startswith(head) or not value.any(), name


@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_the_folds_of_a_trial_resume_exactly(model):
    configuration, data = task(model, optimizer="adamw").configuration, images(model.input_px)
    everything = np.arange(N_IMAGES)
    splits = [Split(train=everything[8:], val=everything[:8]), Split(train=everything[:16], val=everything[16:])]
    *steps, last = run_trial(configuration, splits, data, 0, CPU)
    for step in steps[::2]:
        *_, again = run_trial(configuration, splits, data, 0, CPU, Checkpoint.from_bytes(step.checkpoint))
        assert again.pooled == last.pooled


def test_a_saved_network_is_built_again_and_predicts_the_same(model, tmp_path):
    state = build_network(model, N_CLASSES, seed=3).state_dict()
    saved = TrainedModel(
        config=model,
        normalisation=Normalisation(mean=(120.0, 100.0, 130.0), std=(30.0, 40.0, 25.0)),
        classes=("a", "b", "c"),
        weights=save({name: value.contiguous() for name, value in state.items()}),
    )
    save_model(tmp_path, saved, {})
    loaded = load_model(tmp_path, trusted=True)
    assert loaded == saved
    pixels = images(model.input_px).pixels[model.input_px]
    assert np.array_equal(loaded.predict(pixels), saved.predict(pixels))


def test_a_network_exports(model):
    network = build_network(model, N_CLASSES, seed=0).eval()
    example = torch.randn(2, 3, model.input_px, model.input_px)
    program = torch.export.export(network, (example,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(example), network(example))
