"""Intervals of scores on a data set that no network was trained on."""

import numpy as np
import pandas as pd
import pytest

from search.analysis.measures import MEASURES
from search.analysis.pooling import pooled_metrics
from search.analysis.untouched import interval_over_networks, untouched_columns
from search.common.metrics import METRIC_NAMES, score

N_CLASSES = 3


def predicted(rng, n_networks, labels, *, ability=1.5, of_network=0.5, of_image=1.0):
    """Probabilities of networks that find the same images hard, and are not equally good."""
    n = len(labels)
    hard = rng.normal(0, of_image, n)
    able = ability + rng.normal(0, of_network, n_networks)[:, None] - hard
    logits = rng.normal(0, 1, (n_networks, n, N_CLASSES))
    logits[:, np.arange(n), labels] += able
    shares = np.exp(logits)
    return shares / shares.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "macro_f1", "specificity", "log_loss"])
def test_the_mean_is_that_of_the_networks_metrics(name):
    rng, labels = np.random.default_rng(0), np.arange(60) % N_CLASSES
    labels[:10] = 0
    probabilities = predicted(rng, 5, labels)
    found = interval_over_networks(MEASURES[name], probabilities, labels, overlap=1 / 9)
    metrics = [getattr(score(labels, own), name) for own in probabilities]
    assert abs(found.mean) == pytest.approx(np.mean(metrics))
    assert found.low < found.mean < found.high


def test_the_interval_grows_with_what_makes_the_score_uncertain():
    rng, labels = np.random.default_rng(1), np.arange(120) % N_CLASSES
    alike = predicted(rng, 1, labels).repeat(10, axis=0)
    rng = np.random.default_rng(1)
    unlike = predicted(rng, 10, labels, of_network=2.0)

    def width(probabilities, **options):
        found = interval_over_networks(MEASURES["accuracy"], probabilities, labels, **{"overlap": 1 / 9} | options)
        return found.high - found.low

    assert width(alike) == pytest.approx(width(alike[:1]))  # equal networks add nothing
    assert width(unlike) > width(alike)
    assert width(unlike, overlap=1.0) > width(unlike)
    assert width(unlike, groups=np.arange(120) // 10) != width(unlike)
    assert width(np.tile(unlike, (1, 1, 1))[:2], overlap=0.0) > 0


def test_a_perfect_score_is_known_to_one_image():
    labels = np.arange(40) % N_CLASSES
    found = interval_over_networks(MEASURES["accuracy"], np.eye(N_CLASSES)[labels][None], labels, overlap=0.0)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert 0.9 < found.low <= 1 - 1 / 40
    worst = interval_over_networks(
        MEASURES["accuracy"], np.roll(np.eye(N_CLASSES)[labels], 1, axis=1)[None], labels, overlap=0.0
    )
    assert (worst.mean, worst.low) == (0.0, 0.0)
    assert 1 / 40 <= worst.high < 0.1


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy"])
def test_intervals_hold_the_true_score_for_other_images_and_networks(name):
    held, n, shares = 0, 300, (0.6, 0.3, 0.1)
    rng = np.random.default_rng(2)
    many = np.repeat(np.arange(N_CLASSES), (12_000, 6_000, 2_000))
    everyone = predicted(np.random.default_rng(3), 100, many)
    truth = np.mean([getattr(score(many, own), name) for own in everyone])
    for _ in range(n):
        labels = np.repeat(np.arange(N_CLASSES), [round(150 * share) for share in shares])
        found = interval_over_networks(
            MEASURES[name],
            predicted(rng, 10, labels),
            labels,
            overlap=0.0,  # these share no training images
        )
        held += found.low <= truth <= found.high
    assert 0.92 <= held / n <= 0.99


def table(probabilities, labels, classes):
    rows = []
    for network, own in enumerate(probabilities):
        for image in np.random.default_rng(network).permutation(len(labels)):
            rows.append({
                "setting": None, "repeat": network // 2, "fold": network % 2, "image": f"{image:03d}",
                "label": classes[labels[image]],
                **{f"probability_{name}": own[image, k] for k, name in enumerate(classes)},
            })  # fmt: skip
    return pd.DataFrame(rows)


def test_columns_are_those_of_the_networks_whatever_the_order_of_rows():
    rng, labels, classes = np.random.default_rng(4), np.arange(30) % 2, ["a", "b", "never"]
    probabilities = predicted(rng, 4, labels)
    rows = table(probabilities, labels, classes)
    columns = untouched_columns(rows, classes, overlap=1.0)
    assert (columns["n_networks"], columns["n_images"]) == (4, 30)
    assert columns["accuracy"] == pooled_metrics(rows, classes).accuracy
    recalls = [score(labels, own).balanced_accuracy for own in probabilities]
    assert columns["balanced_accuracy_mean"] == columns["sensitivity_mean"] == pytest.approx(np.mean(recalls))
    assert columns["log_loss_low"] < columns["log_loss_mean"] < columns["log_loss_high"]
    assert columns["log_loss_mean"] > 0
    assert set(METRIC_NAMES) <= set(columns)
    shuffled = untouched_columns(rows.sample(frac=1, random_state=0), classes, overlap=1.0)
    assert shuffled == pytest.approx(columns)
    grouped = untouched_columns(rows, classes, overlap=1.0, groups={f"{i:03d}": str(i // 5) for i in range(30)})
    assert grouped["accuracy_mean"] == columns["accuracy_mean"]
    assert grouped["accuracy_low"] != columns["accuracy_low"]
