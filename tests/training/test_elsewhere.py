"""A trained network scores further data sets as it is, and training does not change for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from search.common.metrics import score
from search.common.seeds import derive_seed
from search.data.splits import Split
from search.space import Configuration, TrainingConfig
from search.training.checkpoint import Checkpoint
from search.training.device import Device
from search.training.folds import run_task, run_trial
from search.training.types import Elsewhere, Images, Task
from wbcmodels.config import ModelConfig
from wbcmodels.traditional.config import Traditional

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES = 12, 40, 3


def configuration(placement="1", **changes):
    model = {"placement": placement, "width": 0.125, "input_px": SIDE} | changes
    return Configuration(model=ModelConfig(**model), training=TrainingConfig(epochs=2, lr=0.01, batch_size=8))


def images(seed, side=SIDE):
    pixels = np.random.default_rng(seed).integers(0, 256, (N_IMAGES, side, side, 3), dtype=np.uint8)
    return Images(pixels={side: pixels}, labels=np.arange(N_IMAGES) % N_CLASSES, n_classes=N_CLASSES)


def task(placement="1", **changes):
    given = {
        "configuration": configuration(placement),
        "train": np.arange(28),
        "val": np.arange(28, 40),
        "seed": 3,
    }
    return Task(**given | changes)


IMAGES, OTHERS = images(0), images(5)
# A class that the network lacks, and one of its classes is missing.
WHERE = Elsewhere(data="others", classes=(2, -1, 0))


def scored(one, others=OTHERS, own=IMAGES):
    *_, last = run_task(one, own, CPU, elsewhere={"others": others})
    return last.score


@pytest.mark.parametrize("placement", ["none", "1+2"])
def test_scores_are_of_the_classes_that_both_have(placement):
    (found,) = scored(task(placement, elsewhere=(WHERE,))).elsewhere
    assert (found.data, found.way) == ("others", "untouched")
    assert found.indices.tolist() == np.flatnonzero(OTHERS.labels != 1).tolist()
    assert found.probabilities.shape == (len(found.indices), N_CLASSES)
    labels = np.array([2, -1, 0])[OTHERS.labels[found.indices]]
    assert found.metrics == score(labels, found.probabilities)


def test_a_network_scores_its_own_images_as_in_its_validation():
    one = task(elsewhere=(Elsewhere(data="others", classes=(0, 1, 2)),))
    fold = scored(one, IMAGES)
    places = [fold.elsewhere[0].indices.tolist().index(i) for i in one.val]
    assert np.allclose(fold.elsewhere[0].probabilities[places], fold.probabilities, atol=1e-6)


def test_a_training_is_the_same_with_and_without_further_data_sets():
    plain = task(keep_weights=True)
    found, bare = scored(replace(plain, elsewhere=(replace(WHERE, adapt=True),))), scored(plain)
    assert found.weights == bare.weights
    assert found.metrics == bare.metrics
    assert bare.elsewhere == ()


@pytest.mark.parametrize(("norm", "ways"), [("batch", 2), ("group", 1), ("none", 1)])
def test_norms_are_adapted_where_there_are_any(norm, ways):
    one = task(configuration=configuration(norm=norm), elsewhere=(replace(WHERE, adapt=True),))
    found = scored(one).elsewhere
    assert [own.way for own in found] == ["untouched", "untouched_adapted"][:ways]
    if ways == 2:
        assert not np.allclose(found[0].probabilities, found[1].probabilities)


def test_adaptation_uses_no_labels():
    one = task(elsewhere=(Elsewhere(data="others", classes=(0, 1, 2), adapt=True),))
    turned = replace(OTHERS, labels=OTHERS.labels[::-1].copy())
    before, after = (scored(one, others).elsewhere[1].probabilities for others in (OTHERS, turned))
    assert np.array_equal(before, after)


def test_a_classifier_of_measured_features_is_scored_too():
    model = Traditional(input_px=16, feature_set="shape", n_estimators=5)
    config = Configuration(model=model, training=TrainingConfig(epochs=1, lr=0.0))
    one = task(configuration=config, elsewhere=(replace(WHERE, adapt=True),))
    (found,) = scored(one, images(5, side=16), images(0, side=16)).elsewhere
    assert found.way == "untouched"
    assert found.probabilities.sum(1) == pytest.approx(np.ones(len(found.indices)))


# run_trial()


def test_a_trial_has_the_mean_of_its_folds_and_laboratories_and_resumes_to_it():
    splits = [Split(train=np.setdiff1d(np.arange(N_IMAGES), val), val=val) for val in np.arange(24).reshape(3, 8)]
    elsewhere = [(WHERE, OTHERS), (Elsewhere(data="more", phase="shift", classes=(0, 1, 2)), images(7))]
    steps = list(run_trial(configuration(), splits, IMAGES, 0, CPU, elsewhere=elsewhere))
    plain = list(run_trial(configuration(), splits, IMAGES, 0, CPU))
    assert steps[-1].pooled == plain[-1].pooled
    assert [step.shift_balanced_accuracy for step in plain] == [None] * len(plain)
    means = []
    for fold, split in enumerate(splits):
        own = task(train=split.train, val=split.val, seed=derive_seed(0, "search", fold))
        own = replace(own, elsewhere=tuple(where for where, _ in elsewhere))
        *_, last = run_task(own, IMAGES, CPU, elsewhere={where.data: its for where, its in elsewhere})
        means.append(np.mean([found.metrics.balanced_accuracy for found in last.score.elsewhere]))
    assert steps[-1].shift_balanced_accuracy == pytest.approx(np.mean(means))
    assert all(step.score is None or not step.score.elsewhere for step in steps)
    for n_done, step in enumerate(steps[:-1], start=1):
        if step.checkpoint is not None:
            saved = Checkpoint.from_bytes(step.checkpoint)
            rest = list(run_trial(configuration(), splits, IMAGES, 0, CPU, saved, elsewhere))
            assert len(rest) == len(steps) - n_done
            assert rest[-1].shift_balanced_accuracy == steps[-1].shift_balanced_accuracy


# adapt_norms()
