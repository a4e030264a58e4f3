"""Classifiers of measured features: fitted once, saved as what they were fitted to, and measured once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from search.common.errors import InputError
from search.common.metrics import score
from search.data.splits import Split
from search.space import Configuration, TrainingConfig
from search.training import estimators
from search.training.device import Device
from search.training.folds import run_task, run_trial
from search.training.speed import latencies_ms, training_speed
from search.training.trainedmodel import WEIGHTS, TrainedModel, load_model, save_model
from search.training.types import Images, Task
from wbcmodels.traditional.config import Traditional

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES = 24, 30, 3
TRAIN, VAL = np.arange(20), np.arange(20, 30)


def images():
    """Discs whose size is their class."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:SIDE, :SIDE] - SIDE / 2
    labels = np.arange(N_IMAGES) % N_CLASSES
    pixels = np.full((N_IMAGES, SIDE, SIDE, 3), 230, np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[x**2 + y**2 < (4 + 3 * label) ** 2] = (110, 50, 140)
    noise = rng.integers(-8, 8, pixels.shape)
    return Images(
        pixels={SIDE: (pixels + noise).clip(0, 255).astype(np.uint8)}, labels=labels, n_classes=N_CLASSES
    )


def configuration(**changes):
    model = Traditional(**{"input_px": SIDE, "feature_set": "shape+colour", "n_estimators": 10} | changes)
    return Configuration(model=model, training=TrainingConfig(epochs=1, lr=0.0))


def task(**changes):
    return Task(configuration=configuration(**changes), train=TRAIN, val=VAL, seed=3, keep_weights=True)


@pytest.fixture(params=["svm", "random_forest", "gradient_boosting"])
def classifier(request):
    return request.param


def test_a_training_is_one_epoch_and_learns(classifier):
    (step,) = run_task(task(classifier=classifier), images(), CPU)
    assert (step.epoch.training.epoch, step.score.n_train, step.score.n_val) == (1, 20, 10)
    assert step.score.probabilities.sum(1) == pytest.approx(np.ones(10))
    assert step.score.metrics == score(images().labels[VAL], step.score.probabilities)
    if classifier != "gradient_boosting":  # 20 images are too few for its leaves
        assert step.score.metrics.accuracy > 0.8


def test_a_training_depends_on_its_own_images_and_seed_only(classifier):
    (one,), (again,) = (run_task(task(classifier=classifier), images(), CPU) for _ in range(2))
    assert np.array_equal(one.score.probabilities, again.score.probabilities)
    data = images()
    data.pixels[SIDE][VAL] = data.pixels[SIDE][VAL][::-1].copy()
    (other,) = run_task(task(classifier=classifier), data, CPU)
    assert other.score.weights == one.score.weights


def test_a_class_that_is_absent_in_training_has_no_probability():
    data = replace(images(), n_classes=N_CLASSES + 1)
    (step,) = run_task(task(), data, CPU)
    assert step.score.probabilities.shape == (10, N_CLASSES + 1)
    assert not step.score.probabilities[:, -1].any()


def test_a_saved_classifier_predicts_the_same(classifier, tmp_path):
    (step,) = run_task(task(classifier=classifier), images(), CPU)
    saved = TrainedModel(
        config=task(classifier=classifier).configuration.model,
        normalisation=step.score.normalisation,
        classes=("a", "b", "c"),
        weights=step.score.weights,
    )
    save_model(tmp_path, saved, {})
    loaded = load_model(tmp_path)
    assert loaded == saved
    assert np.array_equal(loaded.predict(images().pixels[SIDE][VAL]), step.score.probabilities)
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(InputError, match=WEIGHTS):
        load_model(tmp_path)


def test_a_data_set_is_measured_once_for_all_classifiers(monkeypatch):
    monkeypatch.setattr(estimators, "_kept", {})
    measured = []
    real = Traditional.features
    monkeypatch.setattr(Traditional, "features", lambda self, pixels: measured.append(self) or real(self, pixels))
    everything = np.arange(N_IMAGES)
    splits = [Split(train=everything[10:], val=everything[:10]), Split(train=TRAIN, val=VAL)]
    *_, last = run_trial(configuration(), splits, images(), 0, CPU)
    list(run_task(task(classifier="random_forest"), images(), CPU))
    assert len(measured) == 1
    assert last.pooled is not None
    list(run_task(task(feature_set="shape"), images(), CPU))
    assert len(measured) == 2


def test_speed_and_latency_are_measured():
    assert training_speed(configuration(), N_CLASSES, CPU) > 0
    (latency_ms,) = latencies_ms([configuration().model], N_CLASSES, CPU)
    assert not latency_ms <= 0  # NaN where it does not repeat


def test_it_is_not_transferred_and_has_one_epoch():
    with pytest.raises(ValueError, match="fine_tuned"):
        list(run_task(replace(task(), way="fine_tuned"), images(), CPU, weights=b""))
    with pytest.raises(ValueError, match="epochs must be 1, not 2"):
        Configuration(model=configuration().model, training=TrainingConfig(epochs=2, lr=0.0))
