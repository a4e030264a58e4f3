import dataclasses
import math

import numpy as np
import pytest
import sklearn.metrics

from search.common.metrics import METRIC_NAMES, confusion_matrix, score, score_confusion


def random_predictions(seed, n_images=200, n_classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_images)
    logits_NK = rng.normal(size=(n_images, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    probabilities_NK = np.exp(logits_NK)
    return labels, probabilities_NK / probabilities_NK.sum(axis=1, keepdims=True)


def as_array(metrics):
    return np.array(dataclasses.astuple(metrics))


def test_names_are_those_of_the_tables():
    assert METRIC_NAMES == (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "sensitivity",
        "specificity",
        "log_loss",
        "auc",
        "brier",
        "calibration_error",
    )


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_those_of_scikit_learn_for_the_classes_that_occur(seed):
    rng = np.random.default_rng(seed)
    n_classes = int(rng.integers(2, 8))
    labels, probabilities_NK = random_predictions(seed, n_images=int(rng.integers(20, 500)), n_classes=n_classes)
    if seed % 2:  # a class without a labelled image
        seen = labels != n_classes - 1
        labels, probabilities_NK = labels[seen], probabilities_NK[seen]
    present, predicted = np.unique(labels), probabilities_NK.argmax(axis=1)
    metrics = score(labels, probabilities_NK)
    recalls = sklearn.metrics.recall_score(labels, predicted, labels=present, average="macro")
    f1 = sklearn.metrics.f1_score(labels, predicted, labels=present, average="macro")
    log_loss = sklearn.metrics.log_loss(labels, probabilities_NK, labels=np.arange(n_classes))
    # The specificity of a class is the recall of "not this class".
    specificities = [sklearn.metrics.recall_score(labels != k, predicted != k, zero_division=1) for k in present]
    assert metrics.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted), abs=1e-12)
    assert metrics.balanced_accuracy == metrics.sensitivity == pytest.approx(recalls, abs=1e-12)
    assert metrics.macro_f1 == pytest.approx(f1, abs=1e-12)
    assert metrics.log_loss == pytest.approx(log_loss, abs=1e-12)
    assert metrics.specificity == pytest.approx(np.mean(specificities), abs=1e-12)
    areas = [1.0]  # by convention, where nothing can be ranked wrongly
    if len(present) > 1:
        areas = [sklearn.metrics.roc_auc_score(labels == k, probabilities_NK[:, k]) for k in present]
    assert metrics.auc == pytest.approx(np.mean(areas), abs=1e-12)
    brier = sklearn.metrics.brier_score_loss(
        labels, probabilities_NK, labels=np.arange(n_classes), scale_by_half=True
    )
    assert metrics.brier == pytest.approx(brier, abs=1e-12)
    confusion = sklearn.metrics.confusion_matrix(labels, predicted, labels=np.arange(n_classes))
    assert np.array_equal(confusion_matrix(labels, predicted, n_classes), confusion)

    # One more class that no image has and none is given changes nothing.
    wider_NK = np.column_stack([probabilities_NK, np.zeros(len(labels))])
    assert as_array(score(labels, wider_NK)) == pytest.approx(as_array(metrics))


@pytest.mark.parametrize("seed", range(5))
def test_permuting_classes_or_images_changes_nothing(seed):
    labels, probabilities_NK = random_predictions(seed)
    before = as_array(score(labels, probabilities_NK))
    rng = np.random.default_rng(seed)
    classes, images = rng.permutation(5), rng.permutation(len(labels))
    renamed = np.argsort(classes)[labels]
    assert as_array(score(renamed, probabilities_NK[:, classes])) == pytest.approx(before)
    assert as_array(score(labels[images], probabilities_NK[images])) == pytest.approx(before)


@pytest.mark.parametrize("labels", [[0, 1, 2, 2], [0, 0, 2], [1]])
def test_perfect_prediction_scores_one(labels):
    metrics = score(np.array(labels), np.eye(3)[labels])
    assert as_array(metrics).tolist() == [1, 1, 1, 1, 1, 0, 1, 0, 0]


def test_always_wrong_is_finite_and_zero():
    metrics = score(np.array([0, 1]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert (metrics.accuracy, metrics.macro_f1, metrics.specificity) == (0, 0, 0)
    assert metrics.log_loss == pytest.approx(-math.log(1e-7))


def test_example_by_hand():
    confusion = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    metrics = score_confusion(confusion)
    assert metrics.accuracy == pytest.approx(11 / 14)
    assert metrics.balanced_accuracy == pytest.approx((8 / 10 + 3 / 4) / 2)
    assert metrics.macro_f1 == pytest.approx((16 / 19 + 6 / 9) / 2)
    assert metrics.specificity == pytest.approx((3 / 4 + 8 / 10) / 2)
    depend_on_probabilities = (metrics.log_loss, metrics.auc, metrics.brier, metrics.calibration_error)
    assert all(map(math.isnan, depend_on_probabilities))


def test_equal_probabilities_rank_nothing():
    assert score(np.array([0, 1, 1, 2]), np.full((4, 3), 1 / 3)).auc == 0.5


def test_the_calibration_error_is_the_mean_gap_between_confidence_and_accuracy_in_bins():
    confidence = np.array([0.90, 0.92, 0.62, 0.64, 1.0])  # three bins: (0.867, 0.933], (0.6, 0.667], (0.933, 1]
    right = np.array([True, False, True, True, True])
    probabilities_NK = np.column_stack([confidence, 1 - confidence])
    found = score(np.where(right, 0, 1), probabilities_NK).calibration_error
    assert found == pytest.approx((abs(1.82 - 1) + abs(1.26 - 2) + 0) / 5)


def test_the_calibration_error_of_few_images_is_above_zero_even_if_they_are_calibrated():
    def mean_error(n_images):
        rng = np.random.default_rng(0)
        confidence = rng.uniform(0.5, 1, (200, n_images))
        labels = (rng.uniform(size=confidence.shape) > confidence).astype(int)
        pairs = zip(labels, confidence, strict=True)
        return np.mean([score(own, np.column_stack([c, 1 - c])).calibration_error for own, c in pairs])

    few, many = mean_error(20), mean_error(2000)
    assert few > 0.1 > 0.03 > many


def test_confusion_matrix_has_true_rows_and_pools_over_folds():
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert confusion.dtype == np.int64
    labels, probabilities_NK = random_predictions(0)
    predicted = probabilities_NK.argmax(axis=1)
    folds = [confusion_matrix(labels[i::4], predicted[i::4], 5) for i in range(4)]
    assert (np.sum(folds, axis=0) == confusion_matrix(labels, predicted, 5)).all()


@pytest.mark.parametrize(
    ("labels", "probabilities_NK", "message"),
    [
        ([], np.zeros((0, 2)), "no labels"),
        ([0, 1], np.full((3, 2), 0.5), r"shape \(2,\).*shape \(3, 2\)"),
        ([0, 1], np.array([0.5, 0.5]), "shape"),
        ([0, 1], np.array([[0.5, np.nan], [0.5, 0.5]]), "1 of 2 images are not finite"),
        ([0, 1], np.array([[0.5, np.inf], [0.5, 0.5]]), "not finite"),
        ([0, 1], np.array([[5.0, -3.0], [0.5, 0.5]]), "logits"),
        ([0, 2], np.full((2, 2), 0.5), r"labels lie in 0\.\.2, outside the classes 0\.\.1"),
        ([-1, 1], np.full((2, 2), 0.5), "outside the classes"),
        ([0.0, 1.0], np.full((2, 2), 0.5), "integers"),
    ],
)
def test_bad_input_is_named(labels, probabilities_NK, message):
    with pytest.raises(ValueError, match=message):
        score(np.array(labels), probabilities_NK)


@pytest.mark.parametrize("confusion", [np.zeros((2, 3)), np.zeros((2, 2)), np.zeros(4)])
def test_bad_confusion_matrix(confusion):
    with pytest.raises(ValueError, match=r"square|no labels"):
        score_confusion(confusion)
