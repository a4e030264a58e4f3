"""Scores of several networks on the same images, with intervals over networks **and** images.

A score is a mean over pairs of a network and an image that it did not train on. Pairs share their network with
some pairs and their image with others, so the variance of the score is that of sums over images plus that of sums
over networks, less what both count. For scores that are no plain mean, such as macro F1, sums are of each pair's
influence.

The networks of one laboratory share training images: two folds of k have (k - 2) / (k - 1) of them in common. What
other training images would change is larger than their scatter shows.

- Where every network scores all images, as on another laboratory, the networks' variance is taken apart. Means of
  whole partitions into folds scatter by initial weights and batches alone, since every training image is left out
  once; this part shrinks with the number of networks. The scatter within partitions beyond it is of training
  images, and counts (k - 1)^2 / k times, as in the jackknife. With one partition, half of the scatter is
  taken as of training images.
- In cross-validation, where every image is scored once in a partition, the scatter beyond the images' own counts
  1 + J / (k - 1) times, for J networks.

Sources: Cameron, Gelbach and Miller, Robust inference with multiway clustering, J. Business & Economic Statistics
29 (2011); Shao and Wu, A general theory for jackknife variance estimation, Annals of Statistics 17 (1989); Nadeau
and Bengio, Machine Learning 52 (2003), and Bouckaert and Frank, PAKDD (2004), for cross-validation; Satterthwaite,
Biometrics Bulletin 2 (1946).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search.analysis.measures import Floats
from search.common.metrics import SMALLEST_PROBABILITY

CONFIDENCE = 0.95
# Share of the networks' scatter that is of training images, where one partition cannot tell.
ASSUMED_SHARE = 0.5
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Predictions of one kind of network on one set of images, each by a network that did not train on the image.

    Attributes:
        network, partition, image: numbers of the network, of the partition into folds that it belongs to, and of
            the image, shape (n_pairs,).
        unit: number of the image's group, or of the image itself, shape (n_pairs,).
        labels: class of each image, shape (n_pairs,).
        probabilities: shape (n_pairs, n_classes).
        scored: classes that averages over classes take in, each with an image among the pairs.
        n_folds: of each partition that the networks were trained on.
    """

    network: Integers
    partition: Integers
    image: Integers
    unit: Integers
    labels: Integers
    probabilities: Floats
    scored: Integers
    n_folds: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score or a difference of scores, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(pairs: Pairs) -> tuple[float, Floats]:
    """Share of correct pairs."""
    return _mean(_right(pairs))


def balanced_accuracy(pairs: Pairs) -> tuple[float, Floats]:
    """Mean over the scored classes of the share of their pairs that are correct."""
    right, influence, value = _right(pairs), np.zeros(len(pairs.labels)), 0.0
    for k in pairs.scored:
        own = pairs.labels == k
        recall, of_class = _mean(right[own])
        value += recall / len(pairs.scored)
        influence[own] = of_class / len(pairs.scored)
    return value, influence


def macro_f1(pairs: Pairs) -> tuple[float, Floats]:
    """Mean over the scored classes of 2 TP / (their pairs + pairs taken for them)."""
    predicted, influence, value = pairs.probabilities.argmax(1), np.zeros(len(pairs.labels)), 0.0
    for k in pairs.scored:
        own, taken = pairs.labels == k, predicted == k
        size = own.sum() + taken.sum()
        f1 = 2 * (own & taken).sum() / size
        value += f1 / len(pairs.scored)
        influence += (2.0 * (own & taken) - f1 * (own.astype(float) + taken)) / size / len(pairs.scored)
    return float(value), influence


def log_loss(pairs: Pairs) -> tuple[float, Floats]:
    """Mean negative natural logarithm of the true class's probability; lower is better."""
    own = pairs.probabilities[np.arange(len(pairs.labels)), pairs.labels]
    return _mean(-np.log(np.clip(own, SMALLEST_PROBABILITY, 1.0)))


SCORES: dict[str, Callable[[Pairs], tuple[float, Floats]]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
}
"""Score by name: (pairs) -> the score and each pair's influence on it, shape (n_pairs,), which sums to zero."""
SHARES = ("accuracy", "balanced_accuracy", "macro_f1")
"""Those that lie in 0..1."""


def score(pairs: Pairs, metric: str) -> Estimate:
    """A score with its interval.

    Args:
        metric: one of SCORES.
    """
    value, influence = SCORES[metric](pairs)
    low, high = _interval(value, [pairs], [influence], metric)
    return Estimate(value=value, low=max(0.0, low), high=min(1.0, high) if metric in SHARES else high)


def difference(pairs: Pairs, others: Pairs, metric: str) -> Estimate:
    """The score of networks minus that of other networks on the same images.

    Args:
        pairs, others: of different networks; an image, or a group, has the same number in both.
        metric: one of SCORES.
    """
    (a, influence), (b, of_others) = SCORES[metric](pairs), SCORES[metric](others)
    low, high = _interval(a - b, [pairs, others], [influence, -of_others], metric)
    return Estimate(value=a - b, low=low, high=high)


def _right(pairs: Pairs) -> Floats:
    return (pairs.probabilities.argmax(1) == pairs.labels).astype(np.float64)


def _mean(values: Floats) -> tuple[float, Floats]:
    mean = float(values.mean())
    return mean, (values - mean) / len(values)


def _interval(
    value: float, several: Sequence[Pairs], influences: Sequence[Floats], metric: str
) -> tuple[float, float]:
    by_class = _variance_of_images(several, influences)
    parts = [(variance, n - 1) for variance, n in by_class] + [
        _variance_of_networks(pairs, influence) for pairs, influence in zip(several, influences, strict=True)
    ]
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / df for part, df in parts)
    df = variance**2 / spread if spread > 0 else 1.0
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * np.sqrt(variance)
    if metric in SHARES:  # no score is known better than to one image
        half = max(half, _one_image(several[0], metric))
    return value - half, value + half


def _variance_of_images(several: Sequence[Pairs], influences: Sequence[Floats]) -> list[tuple[float, int]]:
    """Variance by the scatter of images, or of groups, in parts by class: each with its number of them."""
    labels, units = (np.concatenate([getattr(pairs, name) for pairs in several]) for name in ("labels", "unit"))
    sums = _sums(units, np.concatenate(influences))
    first = np.unique(units, return_index=True)[1]
    found = []
    for k in np.unique(labels[first]):
        # A group of several classes counts as of its first image's.
        of_class = sums[labels[first] == k]
        n = max(2, len(of_class))
        found.append((float((of_class**2).sum() * n / (n - 1)), n))
    return found


def _variance_of_networks(pairs: Pairs, influence: Floats) -> tuple[float, int]:
    """Variance by the scatter of networks beyond that of their images, and its degrees of freedom."""
    networks, first = np.unique(pairs.network, return_index=True)
    n, k = len(networks), pairs.n_folds
    sums = _sums(pairs.network, influence)
    if len(pairs.network) < n * len(np.unique(pairs.image)):
        beyond = max(0.0, float((sums**2).sum() - _interactions(pairs, influence)))
        return beyond * (1 + n / (k - 1)) * n / (n - 1), n - 1
    # What images do to all networks alike cancels in the sums.
    images = np.unique(pairs.unit, return_inverse=True)[1]
    rest = influence - (_sums(pairs.unit, influence) / np.bincount(images))[images]
    noise_of_images = _interactions(pairs, rest)
    partition = np.unique(pairs.partition[first], return_inverse=True)[1]
    n_partitions = int(partition.max()) + 1
    means = np.bincount(partition, weights=sums) / k
    within = max(0.0, float(((sums - means[partition]) ** 2).sum() * k / (k - 1) - noise_of_images))
    by_training_images = ASSUMED_SHARE * within
    if n_partitions > 1:
        between = max(0.0, float(n * k * means.var(ddof=1) - noise_of_images))
        by_training_images = max(0.0, within - between)
    by_chance = within - by_training_images
    return by_chance + by_training_images * n * (k - 1) ** 2 / k, n - 1


def _interactions(pairs: Pairs, influence: Floats) -> float:
    """Sum of squares over pairs of a network and an image, or a group of images."""
    together = np.unique(np.stack([pairs.network, pairs.unit]), axis=1, return_inverse=True)[1].ravel()
    return float((_sums(together, influence) ** 2).sum())


def _sums(numbers: Integers, values: Floats) -> Floats:
    """Sum of the values of each number, in ascending order of the numbers."""
    index = np.unique(numbers, return_inverse=True)[1]
    sums: Floats = np.bincount(index, weights=values).astype(np.float64)
    return sums


def _one_image(pairs: Pairs, metric: str) -> float:
    """What one image counts in a score."""
    images, first = np.unique(pairs.image, return_index=True)
    if metric == "accuracy":
        return 1 / len(images)
    counts = np.bincount(pairs.labels[first], minlength=int(pairs.scored.max()) + 1)
    return float(1 / (len(pairs.scored) * counts[pairs.scored].min()))
