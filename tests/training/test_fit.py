"""Tests of search.training.fit.

The golden file holds the first five losses of each placement. After an intended change, write it again:

    PYTHONPATH=. python tests/training/test_fit.py
"""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import search.training.fit
from search.space import TrainingConfig
from search.training.batches import measure
from search.training.device import Device
from search.training.fit import evaluate, fit, learning_rate_share, on_device
from search.training.sgd import SGD
from search.training.step import DivergedError
from search.training.types import Normalisation
from wbcmodels.config import PLACEMENTS, ModelConfig

GOLDEN = Path(__file__).parent / "golden" / "first_losses.json"
CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES = 12, 40, 3
TINY = ModelConfig(width=0.125, input_px=SIDE, dropout=0.0)
TRAINING = TrainingConfig(epochs=2, lr=0.01, batch_size=8)
AS_THEY_ARE = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
ALL = torch.arange(N_IMAGES)
LABELS = ALL % N_CLASSES


def noise(n_images=N_IMAGES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n_images, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def plain_colours(values):
    """One grey image per value: the same in all orientations."""
    return torch.as_tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, SIDE, SIDE, 3).contiguous()


def new_model(config=TINY, seed=0):
    return on_device(config.build(N_CLASSES, seed), CPU)


def fit_all(model, images, labels=LABELS, indices=ALL, training=TRAINING, normalisation=None, seed=0):
    if normalisation is None:
        normalisation = measure(images, indices)
    return list(
        fit(
            model,
            SGD(model, training),
            images,
            labels,
            indices,
            training,
            normalisation,
            n_classes=N_CLASSES,
            seed=seed,
            device=CPU,
        )
    )


def losses(*args, **kwargs):
    return [epoch.train_loss for epoch in fit_all(*args, **kwargs)]


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_same(state, other):
    return all(torch.equal(value, other[name]) for name, value in state.items())


# Learning rate


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 7, 10, 50, 333])
def test_the_cosine_schedule_warms_up_and_falls_to_zero_and_the_other_is_constant(n_steps):
    assert {learning_rate_share("constant", step, n_steps) for step in range(n_steps + 1)} == {1.0}
    shares = [learning_rate_share("cosine", step, n_steps) for step in range(n_steps + 1)]
    assert all(0 <= share <= 1 for share in shares)
    assert all(share > 0 for share in shares[:-1])  # every step trains
    assert shares[-1] == pytest.approx(0, abs=1e-12)
    top = shares.index(1.0)
    assert top == max(1, round(0.2 * n_steps)) - 1
    assert all(np.diff(shares[: top + 1]) > 0)
    assert all(np.diff(shares[top:]) < 0)
    assert np.ptp(np.diff(shares[: top + 1])) < 1e-9 if top > 1 else True  # a straight line
    if n_steps >= 50:
        assert shares[-2] < 0.005


@pytest.mark.parametrize("n_steps", [4, 10, 57, 400])
def test_one_cycle_is_torchs(n_steps):
    (weight,) = nn.Linear(1, 1, bias=False).parameters()
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=n_steps)
    for step in range(n_steps):
        assert learning_rate_share("one_cycle", step, n_steps) == pytest.approx(
            schedule.get_last_lr()[0], abs=1e-9
        )
        optimizer.step()
        if step < n_steps - 1:
            schedule.step()


@pytest.mark.parametrize("schedule", ["cosine", "constant", "one_cycle"])
def test_epochs_report_the_learning_rate_they_start_with(schedule):
    training = replace(TRAINING, epochs=5, schedule=schedule)
    epochs = fit_all(new_model(), noise(), training=training)
    n_batches = N_IMAGES // TRAINING.batch_size
    assert [epoch.lr for epoch in epochs] == pytest.approx(
        [0.01 * learning_rate_share(schedule, n_batches * done, 5 * n_batches) for done in range(5)]
    )


# fit()


@pytest.mark.parametrize("placement", ["none", "1+3"])
def test_a_fit_depends_on_its_seed_and_not_on_torchs_global_generator(placement):
    config = replace(TINY, placement=placement, dropout=0.5)
    results = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 5)):
        torch.manual_seed(global_seed)
        model = new_model(config)
        results.append((losses(model, noise(), seed=seed), state_of(model)))
    (first, weights), (again, same_weights), (other, _) = results
    assert first == again
    assert is_same(weights, same_weights)
    assert first != other


@pytest.mark.parametrize(
    ("placement", "norm"),
    [
        *((placement, "batch") for placement in PLACEMENTS),
        ("none", "none"),
        ("1+3", "none"),
        ("2", "group"),
        ("2", "instance"),
    ],
)
def test_every_network_learns_two_colours(placement, norm):
    # A spot in the middle of noise, red or blue. Group norm with a group for every channel would remove a colour
    # that fills the image.
    labels = ALL % 2
    images = noise()
    images[labels == 0, 3:9, 3:9, 0] = 255
    images[labels == 1, 3:9, 3:9, 2] = 255
    model = new_model(replace(TINY, placement=placement, norm=norm))
    training = replace(TRAINING, epochs=8, lr=0.005)
    epochs = fit_all(model, images, labels, training=training)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].train_loss < 0.5 * epochs[0].train_loss
    assert epochs[-1].train_accuracy >= 0.9
    assert all(epoch.train_s > 0 for epoch in epochs)
    probabilities = evaluate(model, images, ALL, measure(images, ALL), CPU)
    assert (probabilities.argmax(1) == labels.numpy()).mean() >= 0.9


@pytest.mark.parametrize(("n_train", "batch_size"), [(33, 8), (40, 8), (7, 8), (25, 8), (1, 8), (9, 1)])
def test_every_epoch_sees_every_training_image_once(n_train, batch_size):
    # The grey value of an image is its index.
    images, model = plain_colours(range(N_IMAGES)), new_model()
    batches = []
    model.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0][:, 0, 0, 0].int().tolist()))
    indices = torch.randperm(N_IMAGES, generator=torch.Generator().manual_seed(3))[:n_train]
    training = replace(TRAINING, batch_size=batch_size, epochs=3, lr=1e-6)
    epochs = fit_all(model, images, indices=indices, training=training, normalisation=AS_THEY_ARE)

    per_epoch = len(batches) // len(epochs)
    assert per_epoch == math.ceil(n_train / batch_size)
    orders = []
    for start in range(0, len(batches), per_epoch):
        epoch = batches[start : start + per_epoch]
        orders.append([image for batch in epoch for image in batch])
        assert sorted(orders[-1]) == sorted(indices.tolist())
        sizes = {len(batch) for batch in epoch}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
    assert len(orders) == 3
    assert n_train == 1 or len(set(map(tuple, orders))) == 3  # a new order in every epoch


def test_images_arrive_with_their_labels():
    # The grey value of an image is its label; only correct pairs give the loss of the untrained network.
    labels = torch.randint(N_CLASSES, (N_IMAGES,), generator=torch.Generator().manual_seed(0))
    images = plain_colours(100 * labels)
    model = new_model(replace(TINY, norm="none"))
    training = replace(TRAINING, epochs=1, lr=0.0)
    (epoch,) = fit_all(model, images, labels, training=training)
    probabilities = evaluate(model, images, ALL, measure(images, ALL), CPU)
    right = probabilities[np.arange(N_IMAGES), labels]
    assert epoch.train_loss == pytest.approx(-np.log(right).mean(), rel=1e-5)
    assert epoch.train_accuracy == pytest.approx((probabilities.argmax(1) == labels.numpy()).mean())


def test_images_outside_the_indices_do_not_matter():
    indices = ALL[::2]
    images, changed = noise(), noise()
    changed[1::2] = 255 - changed[1::2]
    labels = LABELS.clone()
    labels[1::2] = 0
    assert losses(new_model(), images, indices=indices) == losses(new_model(), changed, labels, indices=indices)
    changed[0] = 255 - changed[0]
    assert losses(new_model(), images, indices=indices) != losses(new_model(), changed, indices=indices)


def test_inputs_are_not_written_to():
    images, labels, indices = noise(), LABELS.clone(), ALL.clone()
    before = [tensor.clone() for tensor in (images, labels, indices)]
    model = new_model()
    fit_all(model, images, labels, indices)
    evaluate(model, images, indices, AS_THEY_ARE, CPU)
    assert all(torch.equal(*pair) for pair in zip(before, (images, labels, indices), strict=True))


def test_parameters_without_gradient_are_not_trained():
    model = new_model()
    model.stage2.requires_grad_(False)
    before = state_of(model.stage2.unit.conv), state_of(model.stage1.unit.conv)
    fit_all(model, noise())
    assert is_same(before[0], state_of(model.stage2.unit.conv))
    assert not is_same(before[1], state_of(model.stage1.unit.conv))


@pytest.mark.parametrize("cause", ["learning rate", "weight"])
def test_a_loss_that_is_not_finite_ends_the_fit_before_its_update(cause):
    model = new_model(replace(TINY, placement="1", norm="none"))
    if cause == "weight":
        with torch.no_grad():
            model.fc2.weight[0, 0] = math.inf
    lr = 1e30 if cause == "learning rate" else TRAINING.lr
    states = []
    model.register_forward_pre_hook(lambda module, _: states.append(copy.deepcopy(list(module.parameters()))))
    with pytest.raises(DivergedError, match="in epoch 1"):
        fit_all(model, noise(), training=replace(TRAINING, lr=lr))
    assert len(states) > (cause == "learning rate")
    # NumPy's comparison treats two NaN as equal.
    for parameter, before in zip(model.parameters(), states[-1], strict=True):
        np.testing.assert_array_equal(parameter.detach(), before.detach())


def first_loss(labels, class_weighting):
    """The loss of one batch of all images, which no augmentation changes, and the network's probabilities."""
    images = plain_colours(torch.arange(0, 6 * len(labels), 6))
    indices = torch.arange(len(labels))
    model = new_model(replace(TINY, norm="none"))
    training = replace(TRAINING, epochs=1, lr=0.0, batch_size=len(labels), class_weighting=class_weighting)
    (loss,) = losses(model, images, labels, indices, training)
    return loss, evaluate(model, images, indices, measure(images, indices), CPU)


@pytest.mark.parametrize(
    ("counts", "weights"),
    [
        ((6, 6, 6), (1, 1, 1)),
        ((20, 5, 15), ((40 / 60) ** 0.5, (40 / 15) ** 0.5, (40 / 45) ** 0.5)),
        ((30, 0, 10), ((40 / 60) ** 0.5, 0, (40 / 20) ** 0.5)),  # an absent class has no weight
        ((7, 0, 0), (1, 0, 0)),
    ],
)
def test_balanced_weights_are_the_roots_of_the_inverse_shares(counts, weights):
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    loss, probabilities = first_loss(labels, "balanced")
    of_image = np.asarray(weights)[labels]
    surprise = -np.log(probabilities[np.arange(len(labels)), labels])
    assert loss == pytest.approx((of_image * surprise).sum() / of_image.sum(), rel=1e-5)

    loss, _ = first_loss(labels, "none")
    assert loss == pytest.approx(surprise.mean(), rel=1e-5)


def test_class_weights_depend_on_the_training_images_only():
    training = replace(TRAINING, class_weighting="balanced")
    indices = ALL[:20]
    labels = LABELS.clone()
    labels[20:] = 0
    assert losses(new_model(), noise(), LABELS, indices, training) == losses(
        new_model(), noise(), labels, indices, training
    )


# evaluate()


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_probabilities_do_not_depend_on_the_other_images_of_a_batch(norm, monkeypatch):
    model = new_model(replace(TINY, placement="1+2", norm=norm, dropout=0.5))
    images = noise()
    fit_all(model, images)
    whole = evaluate(model, images, ALL, AS_THEY_ARE, CPU)
    assert whole.shape == (N_IMAGES, N_CLASSES)
    assert whole.dtype == np.float64
    assert whole.sum(1) == pytest.approx(np.ones(N_IMAGES), rel=1e-12)
    assert (whole >= 0).all()
    order = torch.randperm(N_IMAGES, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(search.training.fit, "EVALUATION_BATCH", 7)
    shuffled = evaluate(model, images, order, AS_THEY_ARE, CPU)
    assert np.allclose(shuffled, whole[order], rtol=1e-4, atol=1e-6)


def test_probabilities_are_the_softmax_of_the_logits():
    model, images = new_model(), noise()
    probabilities = evaluate(model, images, ALL, AS_THEY_ARE, CPU)
    logits = model.eval()(images.permute(0, 3, 1, 2).float()).detach()
    assert np.allclose(probabilities, F.softmax(logits, dim=1), atol=1e-5)


def test_evaluation_changes_nothing():
    model = new_model(replace(TINY, placement="1+2", dropout=0.5))
    model.train()
    before, random_state = state_of(model), torch.get_rng_state()
    first, again = (evaluate(model, noise(), ALL, AS_THEY_ARE, CPU) for _ in range(2))
    assert np.array_equal(first, again)
    assert is_same(before, state_of(model))
    assert torch.equal(torch.get_rng_state(), random_state)


def test_evaluation_between_epochs_and_resuming_do_not_change_the_training():
    training = replace(TRAINING, epochs=4)
    images, config = noise(), replace(TINY, dropout=0.5)

    def train(model, optimizer, done):
        given = (model, optimizer, images, LABELS, ALL, training, AS_THEY_ARE)
        for epoch in fit(*given, n_classes=N_CLASSES, seed=0, device=CPU, epochs_done=done):
            yield epoch.train_loss

    unbroken, broken, resumed = new_model(config), new_model(config), new_model(config, seed=1)
    expected = list(train(unbroken, SGD(unbroken, training), 0))
    optimizer, other_optimizer = SGD(broken, training), SGD(resumed, training)
    losses = []
    for loss in train(broken, optimizer, 0):
        losses.append(loss)
        evaluate(broken, images, ALL, AS_THEY_ARE, CPU)
        if len(losses) == 2:
            break
    resumed.load_state_dict(state_of(broken))
    other_optimizer.load(optimizer.state())
    torch.rand(7)  # something else draws in between
    assert losses + list(train(resumed, other_optimizer, 2)) == expected
    assert is_same(state_of(unbroken), state_of(resumed))


def test_an_output_that_is_not_finite_is_an_error():
    model = new_model()
    with torch.no_grad():
        model.fc2.weight[0, 0] = math.nan
    with pytest.raises(DivergedError, match="not finite"):
        evaluate(model, noise(), ALL, AS_THEY_ARE, CPU)


def test_bfloat16_gives_about_the_same():
    model, images = new_model(), noise()
    normalisation = measure(images, ALL)
    exact = evaluate(model, images, ALL, normalisation, CPU)
    rounded = evaluate(model, images, ALL, normalisation, Device(torch.device("cpu"), bf16=True))
    assert not np.array_equal(exact, rounded)
    assert np.allclose(exact, rounded, atol=0.05)


# The golden file


def first_losses(placement):
    # Without dropout, because torch draws its mask differently on other processors. At ten times this learning
    # rate, a change in the last digits of the weights changes the fifth loss by up to 1 %.
    model = new_model(replace(TINY, placement=placement, norm="batch"))
    training = replace(TRAINING, epochs=5, lr=0.001, class_weighting="balanced")
    images = noise()
    images[..., 0] //= (LABELS + 1)[:, None, None].to(torch.uint8)
    return losses(model, images, training=training)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_first_five_losses_are_those_of_the_golden_file(placement):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(golden) == list(PLACEMENTS)
    assert first_losses(placement) == pytest.approx(golden[placement], rel=1e-3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    lines = [f'  "{p}": [{", ".join(f"{loss:.6f}" for loss in first_losses(p))}]' for p in PLACEMENTS]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
