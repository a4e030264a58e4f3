"""Shortcuts at the border: whether pixels without the cell predict its class.

A network may learn black padding, the background of one slide or the size of a crop in place of the cell. Here a
small classifier sees the outermost pixels alone. What it reaches beyond chance, a network can reach without a look
at the cell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

FOLDS = 5
PERMUTATIONS = 99
# Share of black pixels beyond which an image counts as padded.
PADDED_SHARE = 0.02
_RESAMPLES = 500
_MOST_IMAGES = 4000
_MOST_COMPONENTS, _KERNELS, _RIDGE = 50, 200, 0.1


@dataclass(frozen=True, kw_only=True)
class BorderScore:
    """What the border tells about the class.

    Attributes:
        balanced_accuracy: of the classifier, cross-validated; mean over classes of the share found.
        low, high: its 95 % interval, from resampled groups.
        chance: mean balanced accuracy of the same classifier on permuted labels.
        chance_high: what 95 of 100 such permutations stay below.
        p: share of permutations, the true labels among them, that reach balanced_accuracy.
        n_images: images used: those of classes with at least one image per fold, at most 4000.
    """

    balanced_accuracy: float
    low: float
    high: float
    chance: float
    chance_high: float
    p: float
    n_images: int

    @property
    def is_above_chance(self) -> bool:
        """Whether the border predicts the class: p at most 0.05, the interval above chance."""
        return self.p <= 0.05 and self.low > self.chance


def border_score(
    rings: NDArray[np.uint8], labels: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int = 0
) -> BorderScore | None:
    """Classify images by their border.

    The classifier is a ridge regression of class indicators on random features of an RBF kernel; a class is chosen
    by the ratio of its prediction to its share, which is what maximises balanced accuracy. One fit predicts the
    true labels and all permuted ones.

    Args:
        rings: pixels of each border, uint8, shape (n_images, n_pixels, 3).
        labels: shape (n_images,).
        groups: shape (n_images,); a fold never separates images of one group, and permutations move groups whole
            as far as their sizes allow.
    Returns:
        None: fewer than two classes have an image for each fold.
    """
    rng = np.random.default_rng(seed)
    used = _used(labels, groups, rng)
    kept, classes = labels[used], np.unique(labels[used])
    if len(classes) < 2:
        return None
    truth = np.searchsorted(classes, kept)
    group = np.unique(groups[used], return_inverse=True)[1]
    labellings = np.stack([truth, *(_permuted(truth, group, rng) for _ in range(PERMUTATIONS))])
    predicted = _cross_predicted(rings[used].reshape(len(used), -1), labellings, group, seed)
    scores = np.array([_balanced(t, p, len(classes)) for t, p in zip(labellings, predicted, strict=True)])
    low, high = _interval(truth, predicted[0], group, rng)
    return BorderScore(
        balanced_accuracy=float(scores[0]),
        low=low,
        high=high,
        chance=float(scores[1:].mean()),
        chance_high=float(np.quantile(scores[1:], 0.95)),
        p=float((scores >= scores[0]).mean()),
        n_images=len(used),
    )


def padding_p(padded: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """p of the chi-squared test of whether classes differ in the share of padded images, by 9999 permutations.

    Args:
        padded: shape (n_images,).
        labels: shape (n_images,).
    Returns:
        1.0 where no image or every image is padded.
    """
    counts = np.bincount(labels)
    if padded.all() or not padded.any():
        return 1.0
    rng = np.random.default_rng(0)
    expected = counts * padded.mean()

    def statistic(hits: NDArray[np.int64]) -> NDArray[np.float64]:
        there = counts > 0
        return ((hits - expected)[..., there] ** 2 / expected[there]).sum(-1)

    found = statistic(np.bincount(labels, weights=padded, minlength=len(counts)).astype(np.int64))
    permuted = rng.multivariate_hypergeometric(counts, int(padded.sum()), size=9999)
    return float((1 + (statistic(permuted) >= found - 1e-9).sum()) / 10_000)


def _used(labels: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator) -> Indices:
    """Places of the images to classify: of classes with enough groups, and not more than the sample."""
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    large = [places for places in by_class if len(np.unique(groups[places])) >= FOLDS]
    if not large:
        return np.empty(0, np.int64)
    share = min(1.0, _MOST_IMAGES / sum(map(len, large)))
    # Rounded up to what the folds need, so that a sample loses no class.
    sizes = [max(min(len(places), 10 * FOLDS), round(share * len(places))) for places in large]
    return np.sort(np.concatenate([rng.permutation(p)[:n] for p, n in zip(large, sizes, strict=True)]))


def _permuted(labels: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The labels in another order: those of shuffled groups, laid along the groups in their order."""
    order = np.argsort(group, kind="stable")
    shuffled = np.argsort(rng.permutation(group.max() + 1)[group], kind="stable")
    moved = np.empty_like(labels)
    moved[order] = labels[shuffled]
    return moved


def _cross_predicted(
    pixels: NDArray[np.uint8], labellings: NDArray[np.int64], group: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Predicted class of every image for every labelling, shape (n_labellings, n_images)."""
    from sklearn.decomposition import PCA
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    n_classes = labellings.max() + 1
    indicators = (labellings[..., None] == np.arange(n_classes)).astype(np.float32)  # labelling, image, class
    predicted = np.zeros_like(labellings)
    levels = pixels.astype(np.float32) / 255
    folds = GroupKFold(n_splits=FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # the matrices are small, and threads that wait for each other cost more
        for train, val in folds.split(levels, groups=group):
            # Not whitened: what differs most between borders counts most, and pixel noise least.
            components = PCA(min(_MOST_COMPONENTS, len(train) - 1), random_state=seed, svd_solver="randomized")
            spread = max(float(components.fit_transform(levels[train]).var(axis=0).sum()), 1e-9)
            kernel = Nystroem(gamma=0.5 / spread, n_components=min(_KERNELS, len(train)), random_state=seed)
            model = make_pipeline(components, kernel, Ridge(alpha=_RIDGE))
            targets = indicators[:, train].transpose(1, 0, 2).reshape(len(train), -1)
            model.fit(levels[train], targets)
            scores = model.predict(levels[val]).reshape(len(val), len(labellings), n_classes)
            shares = np.maximum(indicators[:, train].mean(axis=1), 1e-9)
            predicted[:, val] = (scores / shares).argmax(axis=2).T
    return predicted


def _balanced(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> float:
    counts = np.bincount(labels, minlength=n_classes)
    return float((np.bincount(labels[labels == predicted], minlength=n_classes) / counts).mean())


def _interval(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile interval of balanced accuracy over resampled groups."""
    n_groups, n_classes = group.max() + 1, labels.max() + 1
    hits, totals = (np.zeros((n_groups, n_classes)) for _ in range(2))
    np.add.at(totals, (group, labels), 1)
    np.add.at(hits, (group, labels), labels == predicted)
    drawn = []
    for _ in range(_RESAMPLES):
        weights = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        total = weights @ totals
        there = total > 0  # a small class may not be drawn
        drawn.append(((weights @ hits)[there] / total[there]).mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
