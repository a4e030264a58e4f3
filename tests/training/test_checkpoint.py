"""Tests of search.training.checkpoint, and that trainings resume from one as if never interrupted."""

import io
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save

import search.training.folds
from search.common.metrics import score
from search.data.splits import Split
from search.space import Configuration, OptimizerName, TrainingConfig
from search.training.checkpoint import Checkpoint
from search.training.device import Device
from search.training.fit import on_device
from search.training.folds import (
    CHECKPOINT_BYTES_PER_S,
    checkpoint_bytes,
    freeze_features,
    restore,
    run_task,
    run_trial,
    state_of,
)
from search.training.sgd import SGD
from search.training.types import Images, Task
from wbcmodels.config import PAPER_WBCSNET, PAPER_WBCSNET2, ModelConfig
from wbcmodels.network import model_size

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES, EPOCHS = 12, 40, 3, 4
WAYS = ("scratch", "frozen", "fine_tuned")
IMAGES = Images(
    pixels={SIDE: np.random.default_rng(0).integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)},
    labels=np.arange(N_IMAGES) % N_CLASSES,
    n_classes=N_CLASSES,
)
SPLITS = [Split(train=np.setdiff1d(np.arange(N_IMAGES), val), val=val) for val in np.arange(30).reshape(3, 10)]


def configuration(placement="1+2", epochs=EPOCHS, **changes):
    model = {"placement": placement, "width": 0.125, "input_px": SIDE, "dropout": 0.5, "norm": "batch"}
    return Configuration(
        model=ModelConfig(**model | changes),
        training=TrainingConfig(epochs=epochs, lr=0.02, batch_size=8, schedule="cosine"),
    )


def task(**changes):
    given = {"configuration": configuration(), "train": SPLITS[0].train, "val": SPLITS[0].val, "seed": 3}
    return Task(**given | {"keep_weights": True} | changes)


def loaded(step):
    return Checkpoint.from_bytes(step.checkpoint)


def values(step):
    """Everything in a step except times."""
    fold_score, checkpoint = step.score, step.checkpoint
    training = {**asdict(step.epoch.training), "train_s": 0, "data_s": 0}
    if fold_score is not None:
        fold_score = {**asdict(fold_score), "probabilities": fold_score.probabilities.tolist(), "train_s": 0}
    if checkpoint is not None:
        checkpoint = replace(loaded(step), train_s=0).to_bytes()
    return step.fold, training, step.epoch.validation, fold_score, step.pooled, checkpoint


def all_values(steps):
    # Nothing may depend on the state of torch's global generator.
    torch.seed()
    return [values(step) for step in steps]


@pytest.fixture(scope="module")
def weights():
    """Of a network for the classes of another data set."""
    torch.set_num_threads(1)
    *_, last = run_task(task(configuration=configuration(epochs=1)), replace(IMAGES, n_classes=5), CPU)
    return last.score.weights


@pytest.fixture(params=WAYS)
def training(request, weights):
    """A task and its initial weights."""
    return task(way=request.param), None if request.param == "scratch" else weights


# Resuming a training


def test_a_task_resumes_after_any_epoch_as_if_unbroken(training):
    one, start = training
    steps = list(run_task(one, IMAGES, CPU, start))
    unbroken = all_values(steps)
    for done, step in enumerate(steps[:-1], start=1):
        checkpoint = loaded(step)
        rest = list(run_task(one, IMAGES, CPU, start, checkpoint))
        assert all_values(rest) == unbroken[done:]
        assert rest[-1].score.train_s == checkpoint.train_s + sum(s.epoch.training.train_s for s in rest)


@pytest.mark.parametrize("changes", [{"norm": "group"}, {"norm": "none", "placement": "none"}], ids=str)
def test_so_does_a_task_with_any_network(changes):
    one = task(configuration=configuration(**changes), validate_once=True)
    steps = list(run_task(one, IMAGES, CPU))
    rest = run_task(one, IMAGES, CPU, checkpoint=loaded(steps[1]))
    assert all_values(rest) == all_values(steps)[2:]


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
def test_so_does_a_task_in_bfloat16_with_any_optimizer(optimizer):
    config = configuration()
    training = replace(config.training, optimizer=optimizer)
    one, halving = task(configuration=replace(config, training=training)), Device(torch.device("cpu"), bf16=True)
    steps = list(run_task(one, IMAGES, halving))
    rest = run_task(one, IMAGES, halving, checkpoint=loaded(steps[1]))
    assert all_values(rest) == all_values(steps)[2:]
    # Batch norm's statistics and the names take a few bytes.
    n_bytes = checkpoint_bytes(config.model.build(N_CLASSES, seed=0), training)
    assert n_bytes < len(steps[0].checkpoint) < 1.15 * n_bytes


@pytest.mark.parametrize("lost", ["weights", "optimizer", "statistics", "epoch"])
def test_every_part_of_a_checkpoint_matters(lost):
    # Otherwise the tests above would prove nothing.
    steps = list(run_task(task(), IMAGES, CPU))
    checkpoint = loaded(steps[1])
    changed = {
        "weights": {"weights": {name: np.asarray(value * 1.01) for name, value in checkpoint.weights.items()}},
        "optimizer": {"optimizer": {name: np.zeros_like(value) for name, value in checkpoint.optimizer.items()}},
        "statistics": {
            "weights": {n: value + 1 if "running" in n else value for n, value in checkpoint.weights.items()}
        },
        "epoch": {"epoch": 1},
    }[lost]
    rest = run_task(task(), IMAGES, CPU, checkpoint=replace(checkpoint, **changed))
    assert all_values(rest)[-1] != values(steps[-1])


def test_a_checkpoint_without_an_epoch_is_the_start():
    whole = all_values(run_task(task(), IMAGES, CPU))
    assert all_values(run_task(task(), IMAGES, CPU, checkpoint=Checkpoint(epoch=0))) == whole


def test_a_trial_resumes_after_any_step_as_if_unbroken():
    steps = list(run_trial(configuration(epochs=2), SPLITS, IMAGES, 0, CPU))
    unbroken = all_values(steps)
    assert len(unbroken) == 2 * len(SPLITS)
    for done, step in enumerate(steps[:-1], start=1):
        checkpoint = loaded(step)
        assert checkpoint.position == divmod(done, 2)
        rest = run_trial(configuration(epochs=2), SPLITS, IMAGES, 0, CPU, checkpoint)
        assert all_values(rest) == unbroken[done:]


def test_a_trial_carries_the_probabilities_of_its_finished_folds():
    finished = []
    *steps, last = run_trial(configuration(epochs=2), SPLITS, IMAGES, 0, CPU)
    for step in steps:
        if step.score is not None:
            finished.append(step.score.probabilities)
        checkpoint = loaded(step)
        assert len(checkpoint.finished) == len(finished)
        assert all(map(np.array_equal, checkpoint.finished, finished))
        assert all(probabilities.dtype == np.float64 for probabilities in checkpoint.finished)
        # Between folds there is no network.
        assert bool(checkpoint.weights) == bool(checkpoint.optimizer) == (step.score is None)
    labels = np.concatenate([IMAGES.labels[split.val] for split in SPLITS])
    assert last.pooled == score(labels, np.concatenate([*finished, last.score.probabilities]))


@pytest.mark.parametrize("epochs", [1, 2])
def test_only_the_last_step_has_no_checkpoint(epochs):
    one = task(configuration=configuration(epochs=epochs))
    for steps in (
        list(run_task(one, IMAGES, CPU)),
        list(run_trial(one.configuration, SPLITS, IMAGES, 0, CPU)),
    ):
        assert [step.checkpoint is None for step in steps] == [False] * (len(steps) - 1) + [True]


def test_training_on_does_not_change_an_earlier_checkpoint():
    steps = run_task(task(), IMAGES, CPU)
    first = next(steps)
    before = values(first)
    list(steps)
    assert values(first) == before


# Large networks


@pytest.fixture
def every_epoch_takes(monkeypatch):
    """A clock that advances only by so many seconds per epoch."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now, perf_counter=lambda: clock.now)
    monkeypatch.setattr(search.training.folds, "time", clock)
    original = search.training.folds.fit

    def start(seconds):
        def fit(*args, **options):
            for epoch in original(*args, **options):
                clock.now += seconds
                yield epoch

        monkeypatch.setattr(search.training.folds, "fit", fit)

    return start


def saved(steps):
    return [step.epoch.training.epoch for step in steps if step.checkpoint is not None]


@pytest.fixture(autouse=True)
def every_network_is_small(monkeypatch):
    """A checkpoint after every epoch, unless a test changes this."""
    monkeypatch.setattr(search.training.folds, "SMALL_CHECKPOINT_BYTES", 10**9)


@pytest.fixture
def twelve_s(monkeypatch):
    """Limits by which the task's network is large and is saved every 12 seconds."""
    taken = 2 * 4 * model_size(task().configuration.model, N_CLASSES).n_parameters
    monkeypatch.setattr(search.training.folds, "SMALL_CHECKPOINT_BYTES", taken - 1)
    monkeypatch.setattr(search.training.folds, "CHECKPOINT_BYTES_PER_S", taken / 12)
    return taken


@pytest.mark.parametrize("seconds", [0.0, 3.0, 5.9, 6.0, 12.0])
def test_large_networks_are_saved_every_so_often(twelve_s, every_epoch_takes, seconds):
    every_epoch_takes(seconds)
    between = int(-(-12 // seconds)) if seconds else 100
    steps = run_task(task(configuration=configuration(epochs=5)), IMAGES, CPU)
    assert saved(steps) == list(range(between, 5, between))


def test_a_fold_that_ends_is_saved_whatever_the_network(twelve_s, every_epoch_takes):
    every_epoch_takes(0.0)
    *steps, _ = run_trial(configuration(epochs=2), SPLITS, IMAGES, 0, CPU)
    assert [step.checkpoint is not None for step in steps] == [step.score is not None for step in steps]


def test_small_networks_are_saved_after_every_epoch(twelve_s, monkeypatch, every_epoch_takes):
    monkeypatch.setattr(search.training.folds, "SMALL_CHECKPOINT_BYTES", twelve_s)
    every_epoch_takes(0.0)
    steps = list(run_task(task(configuration=configuration(epochs=5)), IMAGES, CPU))
    assert saved(steps) == list(range(1, 5))
    # Batch norm's statistics and the names take a few bytes.
    assert twelve_s < len(steps[0].checkpoint) < 1.05 * twelve_s


def bytes_of(config):
    with torch.device("meta"):
        return checkpoint_bytes(config.build(5, seed=0), task().configuration.training)


def test_the_papers_networks_are_saved_every_few_minutes():
    for network in (PAPER_WBCSNET, PAPER_WBCSNET2):
        assert 120 < bytes_of(replace(network, input_px=70)) / CHECKPOINT_BYTES_PER_S < 180
        assert bytes_of(replace(network, width=0.25, input_px=28)) / CHECKPOINT_BYTES_PER_S < 10


# Bytes


def checkpoint(seed=0, folds=2):
    rng = np.random.default_rng(seed)
    return Checkpoint(
        epoch=int(rng.integers(1, 50)),
        train_s=float(rng.random()),
        weights={
            "conv.weight": rng.random((4, 5, 5, 3), np.float32).transpose(0, 3, 1, 2),  # not in C order
            "norm.num_batches_tracked": np.array(7),
            "fc.bias": rng.random(3, np.float32),
        },
        optimizer={"conv.weight": rng.random((4, 3, 5, 5), np.float32)},
        finished=tuple(rng.random((n, 3)) for n in range(folds)),  # the first has no images
    )


def is_same(one, other):
    assert (one.epoch, one.train_s, one.position) == (other.epoch, other.train_s, other.position)
    for name in ("weights", "optimizer"):
        arrays, others = getattr(one, name), getattr(other, name)
        assert set(arrays) == set(others)
        for key in arrays:
            assert arrays[key].dtype == others[key].dtype
            assert np.array_equal(arrays[key], others[key])
    return all(np.array_equal(a, b) for a, b in zip(one.finished, other.finished, strict=True))


@pytest.mark.parametrize("folds", [0, 2, 12])
def test_bytes_hold_the_whole_checkpoint(folds):
    one = checkpoint(folds, folds)
    again = Checkpoint.from_bytes(one.to_bytes())
    assert is_same(one, again)
    assert again.to_bytes() == one.to_bytes()
    assert again.position == (folds, one.epoch)


def test_names_in_a_network_cannot_collide_with_those_of_the_checkpoint():
    names = ("epoch", "train_s", "weights.x", "optimizer.x", "finished.0000")
    weights, momentum = ({name: np.random.default_rng(k).random(1) for name in names} for k in range(2))
    one = Checkpoint(epoch=3, weights=weights, optimizer=momentum)
    assert is_same(one, Checkpoint.from_bytes(one.to_bytes()))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"x", b"\0" * 64, b"\xff" * 64, b"{}", b"garbage" * 100, b"\x02\0\0\0\0\0\0\0{}"),
        *(save(tensors) for tensors in ({}, {"epoch": torch.tensor(1)}, {"train_s": torch.tensor(1.0)})),
        *(np.random.default_rng(seed).bytes(1 + 100 * seed) for seed in range(5)),
        checkpoint().to_bytes() + b"x",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not a checkpoint"):
        Checkpoint.from_bytes(data)


def test_a_part_of_a_checkpoint_is_refused():
    data = checkpoint().to_bytes()
    for length in [*range(16), *range(16, len(data), 37), len(data) - 1]:
        with pytest.raises(ValueError, match="not a checkpoint"):
            Checkpoint.from_bytes(data[:length])


class Touch:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def torch_saved(value):
    data = io.BytesIO()
    torch.save(value, data)
    return data.getvalue()


@pytest.mark.parametrize("write", [pickle.dumps, torch_saved])
def test_a_pickle_is_refused_and_not_executed(tmp_path, write):
    data = write(Touch(tmp_path / "run"))
    with pytest.raises(ValueError, match="not a checkpoint"):
        Checkpoint.from_bytes(data)
    assert not (tmp_path / "run").exists()
    if data[:2] != b"PK":
        pickle.loads(data)
        assert (tmp_path / "run").exists()  # it would have been


# Networks


def network(seed=0, n_classes=N_CLASSES, **changes):
    """A network and its optimizer after one step."""
    config = configuration(**changes)
    model = on_device(config.model.build(n_classes, seed), CPU)
    optimizer = SGD(model, config.training)
    model(torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))).sum().backward()
    optimizer.step()
    return model, optimizer


def test_a_restored_network_is_the_same_in_the_same_memory_order():
    model, optimizer = network(0)
    other, other_optimizer = network(1)
    restore(state_of(model, optimizer, epoch=1, train_s=0.5), other, other_optimizer)
    one, again = (state_of(*pair, epoch=1, train_s=0.5) for pair in ((model, optimizer), (other, other_optimizer)))
    assert is_same(one, again)
    assert set(one.optimizer) == {f"{name}.momentum" for name, _ in model.named_parameters()}
    for name, parameter in other.named_parameters():
        assert other_optimizer.buffers["momentum"][name].stride() == parameter.stride()


def test_a_frozen_network_has_momentum_only_for_its_head():
    config = configuration()
    model = config.model.build(N_CLASSES, 0)
    freeze_features(model)
    optimizer = SGD(model, config.training)
    model(torch.zeros(2, 3, SIDE, SIDE)).sum().backward()
    optimizer.step()
    kept = state_of(model, optimizer, epoch=1, train_s=0.0).optimizer
    assert set(kept) == {"fc2.weight.momentum", "fc2.bias.momentum"}


@pytest.mark.parametrize(
    "changes",
    [{"placement": "1"}, {"width": 0.25}, {"n_classes": 4}, {"norm": "none"}],
    ids=str,
)
def test_a_checkpoint_of_a_different_network_is_refused(changes):
    with pytest.raises(RuntimeError):
        restore(state_of(*network(), epoch=1, train_s=0.0), *network(**changes))
