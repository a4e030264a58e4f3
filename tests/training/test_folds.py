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
from search.training.fit import DivergedError, evaluate, on_device
from search.training.folds import run_task, run_trial
from search.training.types import Images, Step, Task, epoch_row
from wbcmodels.config import PLACEMENTS, ModelConfig
from wbcmodels.family import WBCsNet

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES, EPOCHS = 12, 40, 3, 2
TRAIN, VAL = np.arange(0, 28), np.arange(28, 40)[::-1].copy()  # not ascending, to see that the order is kept


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
    """The epochs in the order they come in, and the fold's score, which comes with the last."""
    steps = list(run_task(task, IMAGES if images is None else images, CPU, weights))
    assert all(isinstance(step, Step) for step in steps)
    assert [step.score is not None for step in steps] == [False] * (len(steps) - 1) + [True]
    assert all((step.fold, step.pooled) == (0, None) for step in steps)
    return [step.epoch for step in steps], steps[-1].score


def values(epochs, fold_score):
    """Everything but the times."""
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


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_same_seed_gives_the_same_values(placement):
    one = task(placement, keep_weights=True)
    torch.manual_seed(1)
    first = values(*run(one))
    torch.manual_seed(2)
    assert values(*run(one)) == first
    assert values(*run(replace(one, seed=4))) != first


def test_normalisation_and_training_know_nothing_of_the_validation_images():
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


def test_the_classes_are_those_of_the_images():
    assert configuration().model.n_classes == 5
    _, fold = run(task(), images(n_classes=4))
    assert fold.probabilities.shape[1] == 4


def test_an_absent_class_is_no_obstacle():
    few = replace(IMAGES, n_classes=6)
    _, fold = run(task(), few)
    assert fold.probabilities.shape[1] == 6
    assert fold.metrics == score(few.labels[VAL], fold.probabilities)


def test_a_training_that_diverges_says_so():
    with pytest.raises(DivergedError):
        run(task(configuration=configuration(lr=1e30, norm="none")))


def loaded(weights, config, n_classes=N_CLASSES):
    model = WBCsNet(replace(config, n_classes=n_classes))
    model.load_state_dict(load(weights))
    return on_device(model, CPU)


@pytest.mark.parametrize(
    ("placement", "norm"), [*((placement, "batch") for placement in PLACEMENTS), ("1", "group"), ("1", "none")]
)
def test_kept_weights_reproduce_the_probabilities(placement, norm):
    one = task(configuration=configuration(placement, norm=norm), keep_weights=True)
    _, fold = run(one)
    model = loaded(fold.weights, one.configuration.model)
    again = evaluate(model, torch.from_numpy(IMAGES.pixels[SIDE]), torch.from_numpy(VAL), fold.normalisation, CPU)
    assert np.allclose(again, fold.probabilities, rtol=1e-6)


# Transfer


@pytest.fixture(scope="module", params=PLACEMENTS)
def trained(request):
    """A task and the weights that it gave, for five classes."""
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


def test_fine_tuning_changes_all_parameters(trained):
    source, weights = trained
    _, fold = run(replace(source, way="fine_tuned"), weights=weights)
    before, after = load(weights), load(fold.weights)
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_frozen_training_changes_the_head_alone(trained):
    source, weights = trained
    _, fold = run(replace(source, way="frozen"), weights=weights)
    before, after = load(weights), load(fold.weights)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc2.weight", "fc2.bias"}
    assert after["fc2.bias"].any()  # it was trained: a new head starts with zeros


def test_the_old_head_has_no_influence(trained):
    source, weights = trained
    other_head = {name: value * 2 if name.startswith("fc2.") else value for name, value in load(weights).items()}
    one = replace(source, way="frozen")
    assert values(*run(one, weights=weights)) == values(*run(one, weights=save(other_head)))


# run_trial()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_trial_goes_through_its_folds_in_order(placement):
    steps = list(run_trial(configuration(placement), SPLITS, IMAGES, 0, CPU))
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


def test_folds_of_any_order_and_size_keep_it():
    splits = [Split(train=TRAIN, val=val) for val in (np.arange(36, 40), np.arange(30, 31))]
    steps = list(run_trial(configuration(epochs=1), splits, IMAGES, 0, CPU))
    assert [(step.fold, step.score.n_val) for step in steps] == [(0, 4), (1, 1)]
    assert steps[-1].pooled == score(
        IMAGES.labels[[36, 37, 38, 39, 30]], np.concatenate([step.score.probabilities for step in steps])
    )


def test_a_fold_is_a_task_with_a_seed_of_its_own():
    last = {step.fold: step.score for step in run_trial(configuration(), SPLITS, IMAGES, 7, CPU)}
    for number, split in enumerate(SPLITS):
        one = task(train=split.train, val=split.val, seed=derive_seed(7, "search", number))
        assert values(*run(one)) == values(run(one)[0], last[number])


def test_the_same_seed_gives_the_same_trial():
    def trial(seed):
        return [
            (step.fold, values([step.epoch], step.score)[:1] if step.score else None, step.pooled)
            for step in run_trial(configuration(dropout=0.5), SPLITS, IMAGES, seed, CPU)
        ]

    assert trial(0) == trial(0)
    assert trial(0) != trial(1)


def test_a_trial_trains_no_further_than_it_is_asked(monkeypatch):
    # Racing stops a trial by asking for no more.
    begun = []
    original = search.training.folds.run_task

    def counted(one, *rest, **options):
        begun.append(one)
        return original(one, *rest, **options)

    monkeypatch.setattr(search.training.folds, "run_task", counted)
    steps = run_trial(configuration(), SPLITS, IMAGES, 0, CPU)
    next(steps)
    next(steps)
    steps.close()
    assert len(begun) == 1


def test_a_trial_that_diverges_says_so():
    with pytest.raises(DivergedError):
        list(run_trial(configuration(lr=1e30, norm="none"), SPLITS, IMAGES, 0, CPU))


# Rows and memory


@pytest.mark.parametrize("validate_once", [True, False])
def test_an_epochs_row_has_the_columns_of_the_table(validate_once):
    epochs, _ = run(task(validate_once=validate_once))
    for epoch in epochs:
        row = epoch_row(epoch)
        assert set(row) == set(TABLES["epochs"])
        validation = epoch.validation
        assert row["epoch"] == epoch.training.epoch
        assert row["train_loss"] == epoch.training.train_loss
        assert row["val_loss"] == (validation and validation.log_loss)
        assert row["val_accuracy"] == (validation and validation.accuracy)
        assert row["val_balanced_accuracy"] == (validation and validation.balanced_accuracy)


def test_a_validation_of_zero_is_not_taken_for_none():
    epochs, _ = run(task())
    nothing_right = replace(epochs[0].validation, accuracy=0.0, balanced_accuracy=0.0)
    row = epoch_row(replace(epochs[0], validation=nothing_right))
    assert (row["val_accuracy"], row["val_balanced_accuracy"]) == (0.0, 0.0)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.fixture
def every_warning():
    """Torch shows some warnings once per process; here they count every time."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("every_warning")
def test_read_only_images_are_used_as_they_are():
    # As Ray hands them out: one copy for all workers.
    shared = Images(
        pixels={SIDE: read_only(IMAGES.pixels[SIDE])}, labels=read_only(IMAGES.labels), n_classes=N_CLASSES
    )
    assert values(*run(task(), shared)) == values(*run(task()))
    assert np.array_equal(shared.pixels[SIDE], IMAGES.pixels[SIDE])


@pytest.mark.usefixtures("every_warning")
def test_read_only_indices_are_used_as_they_are():
    shared = task(train=read_only(TRAIN), val=read_only(VAL))
    assert values(*run(shared)) == values(*run(task()))


@pytest.mark.usefixtures("every_warning")
def test_read_only_splits_are_used_as_they_are():
    splits = [Split(train=read_only(split.train), val=read_only(split.val)) for split in SPLITS[:1]]
    (_, step) = run_trial(configuration(), splits, IMAGES, 0, CPU)
    assert step.pooled == step.score.metrics


def test_steps_are_put_in_few_words():
    # Ray Tune makes words of every result, several times over.
    assert len(repr(Step(epoch=None, checkpoint=bytes(10**6)))) < 1000
