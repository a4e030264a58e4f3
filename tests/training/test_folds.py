from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import search.training.folds
from search.common.metrics import score
from search.common.seeds import derive_seed
from search.data.splits import Split
from search.records.schema import TABLES
from search.space import Configuration, TrainingConfig
from search.training.batches import measure
from search.training.device import Device
from search.training.fit import evaluate, on_device
from search.training.folds import run_task, run_trial
from search.training.step import DivergedError
from search.training.types import Images, Step, Task, epoch_row
from wbcmodels.config import PLACEMENTS, ModelConfig
from wbcmodels.family import WBCsNet

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES, EPOCHS = 12, 40, 3, 2
TRAIN, VAL = np.arange(0, 28), np.arange(28, 40)[::-1].copy()  # descending: the order must be kept


def configuration(placement="1", epochs=EPOCHS, lr=0.01, **changes):
    return Configuration(
        model=ModelConfig(**{"placement": placement, "width": 0.125, "input_px": SIDE} | changes),
        training=TrainingConfig(epochs=epochs, lr=lr, batch_size=8),
    )


def images(n_classes=N_CLASSES, sides=(SIDE,), seed=0):
    generator = np.random.default_rng(seed)
    return Images(
        pixels={side: generator.integers(0, 256, (N_IMAGES, side, side, 3), dtype=np.uint8) for side in sides},
        labels=np.arange(N_IMAGES) % n_classes,
        n_classes=n_classes,
    )


def task(placement="1", **changes):
    return Task(**{"configuration": configuration(placement), "train": TRAIN, "val": VAL, "seed": 3} | changes)


def run(task, images=None, weights=None):
    """The epochs, and the fold's score, which comes with the last."""
    steps = list(run_task(task, IMAGES if images is None else images, CPU, weights))
    assert all(isinstance(step, Step) for step in steps)
    assert [step.score is not None for step in steps] == [False] * (len(steps) - 1) + [True]
    assert all((step.fold, step.pooled) == (0, None) for step in steps)
    return [step.epoch for step in steps], steps[-1].score


def values(epochs, fold_score):
    """Everything except times."""
    training = [
        {**asdict(epoch), "training": {**asdict(epoch.training), "train_s": 0, "data_s": 0}, "val_s": 0}
        for epoch in epochs
    ]
    return training, {**asdict(fold_score), "probabilities": fold_score.probabilities.tolist(), "train_s": 0}


IMAGES = images()
SPLITS = [Split(train=np.setdiff1d(np.arange(N_IMAGES), val), val=val) for val in np.arange(30).reshape(3, 10)]


# run_task()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_task_yields_its_epochs_and_with_the_last_its_score(placement):
    epochs, fold = run(task(placement))
    assert [epoch.training.epoch for epoch in epochs] == [1, 2]
    assert (fold.n_train, fold.n_val) == (len(TRAIN), len(VAL))
    assert fold.probabilities.shape == (len(VAL), N_CLASSES)
    assert fold.metrics == score(IMAGES.labels[VAL], fold.probabilities)
    assert fold.metrics == epochs[-1].validation
    assert all(epoch.validation is not None for epoch in epochs)
    assert fold.train_s == pytest.approx(sum(epoch.training.train_s for epoch in epochs))
    assert fold.train_s > 0
    assert fold.weights is None


def test_without_validation_images_there_are_no_scores():
    epochs, fold = run(task(val=np.arange(0), keep_weights=True))
    assert [epoch.validation for epoch in epochs] == [None, None]
    assert fold.metrics is None
    assert fold.n_val == 0
    assert fold.probabilities.shape == (0, N_CLASSES)
    assert fold.weights is not None


def test_validated_once_only_the_last_epoch_has_scores_and_they_are_the_same():
    each, each_fold = run(task())
    once, once_fold = run(task(validate_once=True))
    assert [epoch.validation for epoch in once] == [None, each[-1].validation]
    assert np.array_equal(once_fold.probabilities, each_fold.probabilities)
    assert [e.training.train_loss for e in once] == [e.training.train_loss for e in each]


def test_the_same_seed_gives_the_same_values():
    one = task(keep_weights=True)
    torch.manual_seed(1)
    first = values(*run(one))
    torch.manual_seed(2)
    assert values(*run(one)) == first
    assert values(*run(replace(one, seed=4))) != first


def test_normalisation_and_training_do_not_depend_on_the_validation_images():
    pixels = IMAGES.pixels[SIDE].copy()
    pixels[VAL] = 255 - pixels[VAL]
    labels = IMAGES.labels.copy()
    labels[VAL] = 0
    changed = Images(pixels={SIDE: pixels}, labels=labels, n_classes=N_CLASSES)
    one = task(keep_weights=True)
    (epochs, fold), (other_epochs, other_fold) = run(one), run(one, changed)
    assert fold.normalisation == other_fold.normalisation
    assert fold.normalisation == measure(torch.from_numpy(pixels), torch.from_numpy(TRAIN))
    assert fold.weights == other_fold.weights
    assert [e.training.train_loss for e in epochs] == [e.training.train_loss for e in other_epochs]
    assert fold.metrics != other_fold.metrics


def test_the_input_side_chooses_the_pixels():
    both = images(sides=(SIDE, 14))
    small, large = (task(configuration=configuration(input_px=side)) for side in (SIDE, 14))
    assert values(*run(small, both)) == values(*run(small, IMAGES))
    assert values(*run(large, both)) != values(*run(small, both))


def test_the_classes_are_those_of_the_data_set_even_if_one_is_absent():
    few = replace(IMAGES, n_classes=6)
    _, fold = run(task(), few)
    assert fold.probabilities.shape[1] == 6
    assert fold.metrics == score(few.labels[VAL], fold.probabilities)


def test_a_training_that_diverges_is_an_error():
    diverging = configuration(lr=1e30, norm="none")
    with pytest.raises(DivergedError):
        run(task(configuration=diverging))
    with pytest.raises(DivergedError):
        list(run_trial(diverging, SPLITS, IMAGES, 0, CPU))


def loaded(weights, config, n_classes=N_CLASSES):
    model = WBCsNet(config.stages(), config.dropout, n_classes)
    model.load_state_dict(load(weights))
    return on_device(model, CPU)


@pytest.mark.parametrize(
    ("placement", "norm"), [("none", "batch"), ("1+3", "batch"), ("2", "group"), ("1", "none")]
)
def test_kept_weights_reproduce_the_probabilities(placement, norm):
    one = task(configuration=configuration(placement, norm=norm), keep_weights=True)
    _, fold = run(one)
    model = loaded(fold.weights, one.configuration.model)
    again = evaluate(model, torch.from_numpy(IMAGES.pixels[SIDE]), torch.from_numpy(VAL), fold.normalisation, CPU)
    assert np.allclose(again, fold.probabilities, rtol=1e-6)


# Transfer


@pytest.fixture(scope="module", params=["none", "1", "2+3"])
def trained(request):
    """A task and its trained weights, for five classes."""
    torch.set_num_threads(1)
    source = task(request.param, keep_weights=True)
    _, fold = run(source, images(n_classes=5, seed=1))
    return source, fold.weights


def without_statistics(names):
    return {name for name in names if "running_" not in name and "num_batches" not in name}


def test_fine_tuning_starts_from_the_given_weights(trained):
    source, weights = trained
    standing = configuration(source.configuration.model.placement, epochs=1, lr=0.0)
    _, fold = run(replace(source, configuration=standing, way="fine_tuned"), weights=weights)
    before, after = load(weights), load(fold.weights)
    assert after["fc2.weight"].shape == (N_CLASSES, 512)
    assert before["fc2.weight"].shape == (5, 512)
    for name in without_statistics(before) - {"fc2.weight", "fc2.bias"}:
        assert torch.equal(before[name], after[name]), name


@pytest.mark.parametrize(("way", "kept"), [("fine_tuned", False), ("frozen", True)])
def test_fine_tuning_changes_all_parameters_and_frozen_training_the_head_only(trained, way, kept):
    source, weights = trained
    _, fold = run(replace(source, way=way), weights=weights)
    before, after = load(weights), load(fold.weights)
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (kept and not name.startswith("fc2.")), name
    assert after["fc2.bias"].any()  # it was trained: a new head starts with zeros


def test_the_old_head_does_not_matter(trained):
    source, weights = trained
    other_head = {name: value * 2 if name.startswith("fc2.") else value for name, value in load(weights).items()}
    one = replace(source, way="frozen")
    assert values(*run(one, weights=weights)) == values(*run(one, weights=save(other_head)))


# run_trial()


def test_a_trial_goes_through_its_folds_in_order():
    steps = list(run_trial(configuration(), SPLITS, IMAGES, 0, CPU))
    assert [(step.fold, step.epoch.training.epoch) for step in steps] == [
        (fold, epoch) for fold in range(3) for epoch in (1, 2)
    ]
    assert [step.score is not None for step in steps] == [False, True] * 3
    assert [step.pooled is not None for step in steps] == [False] * 5 + [True]
    folds = [step.score for step in steps if step.score]
    for split, fold in zip(SPLITS, folds, strict=True):
        assert (fold.n_train, fold.n_val) == (len(split.train), len(split.val))
        assert fold.metrics == score(IMAGES.labels[split.val], fold.probabilities)
    assert steps[-1].pooled == score(
        np.concatenate([IMAGES.labels[split.val] for split in SPLITS]),
        np.concatenate([fold.probabilities for fold in folds]),
    )


def test_a_fold_is_a_task_with_a_seed_of_its_own():
    splits = [SPLITS[0], Split(train=TRAIN, val=np.arange(30, 31)), SPLITS[2]]
    last = {step.fold: step.score for step in run_trial(configuration(), splits, IMAGES, 7, CPU)}
    for number, split in enumerate(splits):
        one = task(train=split.train, val=split.val, seed=derive_seed(7, "search", number))
        assert values(*run(one)) == values(run(one)[0], last[number])


def test_a_trial_trains_no_further_than_it_is_asked(monkeypatch):
    # Racing stops a trial by not asking for the next step.
    started = []
    original = search.training.folds.run_task

    def counted(one, *rest, **options):
        started.append(one)
        return original(one, *rest, **options)

    monkeypatch.setattr(search.training.folds, "run_task", counted)
    steps = run_trial(configuration(), SPLITS, IMAGES, 0, CPU)
    next(steps)
    next(steps)
    steps.close()
    assert len(started) == 1


# Rows and memory


@pytest.mark.parametrize("validate_once", [True, False])
def test_the_row_of_an_epoch_has_the_columns_of_the_table(validate_once):
    epochs, _ = run(task(validate_once=validate_once))
    for epoch in epochs:
        row = epoch_row(epoch)
        assert set(row) == set(TABLES["epochs"])
        validation = epoch.validation
        assert row["train_loss"] == epoch.training.train_loss
        assert row["val_loss"] == (validation and validation.log_loss)
        assert row["val_balanced_accuracy"] == (validation and validation.balanced_accuracy)
    zero = replace(epochs[-1], validation=replace(epochs[-1].validation, accuracy=0.0))
    assert epoch_row(zero)["val_accuracy"] == 0.0  # not None


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.fixture
def every_warning():
    """Torch shows some warnings only once per process; here it always does."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("every_warning")
def test_read_only_arrays_are_used_as_they_are():
    # Ray hands out one read-only copy to all workers.
    shared = Images(
        pixels={SIDE: read_only(IMAGES.pixels[SIDE])}, labels=read_only(IMAGES.labels), n_classes=N_CLASSES
    )
    one = task(train=read_only(TRAIN), val=read_only(VAL))
    assert values(*run(one, shared)) == values(*run(task()))
    split = Split(train=read_only(SPLITS[0].train), val=read_only(SPLITS[0].val))
    *_, step = run_trial(configuration(), [split], shared, 0, CPU)
    assert step.pooled == step.score.metrics


def test_a_step_has_a_short_repr():
    # Ray Tune formats every result several times.
    assert len(repr(Step(epoch=None, checkpoint=bytes(10**6)))) < 1000
