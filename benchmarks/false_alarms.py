"""False alarms and power of a study: differences found where there is none, and where there are two points.

    python -m benchmarks.false_alarms --studies 2000

Measured, n = 2000 studies of 1738 images on ten folds: a false alarm among eight equals in 1.1 % (95 % interval
0.8 to 1.7) by accuracy and 0.3 % (0.1 to 0.7) by balanced accuracy; two points of accuracy found in 8.2 % (7.1
to 9.5).

Each study draws fresh images of five classes as unequal as in blood, splits them into folds, fits eight
classifiers to every fold and applies the test that studies use. The classifiers are nearest class means. Each sees
features shared by all and features of its own, drawn from the same distribution: none is better by construction,
and their errors are correlated, like those of networks on the same images. To measure power, one classifier gets a
stronger signal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.table import Table
from scipy import optimize

from search.analysis.statistics import compare_levels, wilson
from search.analysis.verdict import ALPHA
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.data.splits import Split, stratified_folds

# The development set of a study of 2172 images with the classes of healthy blood; basophils are the rarest.
CLASS_COUNTS = (24, 58, 432, 96, 1128)
N_LEVELS, N_FOLDS = 8, 10
N_SHARED, N_OWN = 4, 4
# Scale of the class means, in standard deviations of a feature: 93 % of the images are classified correctly.
SIGNAL = 2.0
METRICS = ("accuracy", "balanced_accuracy")

app = make_app("benchmarks.false_alarms")


@dataclass(frozen=True)
class Images:
    """Features of each level, shape (n_levels, n_images, n_features), and labels, shape (n_images,)."""

    features: NDArray[np.float64]
    labels: NDArray[np.int64]


def draw_images(
    rng: np.random.Generator, class_counts: Sequence[int], centres: NDArray[Any], gain: float = 1.0
) -> Images:
    """Draw fresh images.

    Args:
        centres: class means of a level's features, shape (n_classes, N_SHARED + N_OWN).
        gain: factor by which the last level's own signal exceeds that of the others.
    """
    labels = np.repeat(np.arange(len(class_counts)), class_counts)
    n_images = len(labels)
    shared = rng.normal(size=(1, n_images, N_SHARED)) + centres[labels, :N_SHARED]
    strength = np.ones((N_LEVELS, 1, 1))
    strength[-1] = gain
    own = rng.normal(size=(N_LEVELS, n_images, N_OWN)) + strength * centres[labels, N_SHARED:]
    return Images(np.concatenate([np.broadcast_to(shared, (N_LEVELS, n_images, N_SHARED)), own], axis=2), labels)


def predictions(images: Images, train: NDArray[Any], features: NDArray[Any]) -> NDArray[np.int64]:
    """Classes of other images by every level's class means, fitted to `train`: shape (n_levels, n_others)."""
    one_hot = np.eye(images.labels.max() + 1)[images.labels[train]]
    means = np.einsum("ik,lid->lkd", one_hot, images.features[:, train], optimize=True) / one_hot.sum(0)[:, None]
    closeness = features @ means.transpose(0, 2, 1) - 0.5 * (means**2).sum(2)[:, None]
    return closeness.argmax(2)


def fold_scores(images: Images, splits: Sequence[Split]) -> dict[str, NDArray[np.float64]]:
    """Scores of every level on every fold, shape (n_levels, n_folds), by metric."""
    found: dict[str, list[Any]] = {metric: [] for metric in METRICS}
    for split in splits:
        labels = images.labels[split.val]
        right = predictions(images, split.train, images.features[:, split.val]) == labels
        found["accuracy"].append(right.mean(1))
        found["balanced_accuracy"].append(
            np.mean([right[:, labels == k].mean(1) for k in np.unique(labels)], axis=0)
        )
    return {metric: np.array(scores).T for metric, scores in found.items()}


def adjusted_p(images: Images, seed: int, repeats: int = 1) -> dict[str, NDArray[np.float64]]:
    """Holm-adjusted p values of the levels against the first in one study, shape (n_levels - 1,), by metric."""
    splits = [
        split
        for repeat in range(repeats)
        for split in stratified_folds(images.labels, None, n_folds=N_FOLDS, seed=seed * repeats + repeat)
    ]
    names = [str(level) for level in range(N_LEVELS)]
    untold = {name: np.zeros(0, dtype=bool) for name in names}  # McNemar's test decides nothing and is left out
    n_train, n_test = (np.mean([len(getattr(split, part)) for split in splits]) for part in ("train", "val"))
    adjusted = {}
    for metric, scores in fold_scores(images, splits).items():
        by_level = dict(zip(names, scores, strict=True))
        compared = compare_levels(by_level, untold, "0", float(n_train), float(n_test))
        adjusted[metric] = np.array([compared[name].p_holm for name in names[1:]])
    return adjusted


def class_centres(n_classes: int) -> NDArray[np.float64]:
    """Class means, equally far apart in shared and own features: shape (n_classes, n_features)."""
    simplex = np.linalg.svd(np.eye(n_classes) - 1 / n_classes)[0][:, : n_classes - 1]
    return SIGNAL * np.hstack([simplex, simplex])


def true_gain(gain: float, metric: str, class_counts: Sequence[int]) -> float:
    """True advantage of the last level over the first: fitted to a fold's images, scored on very many others.

    Every gain uses the same draws, so that the result varies smoothly with the gain.
    """
    rng, n_classes = np.random.default_rng(1), len(class_counts)
    centres = class_centres(n_classes)
    weights = (
        np.array(class_counts) / sum(class_counts) if metric == "accuracy" else np.full(n_classes, 1 / n_classes)
    )
    gains = []
    for _ in range(20):
        fitted = draw_images(rng, [round(n * (1 - 1 / N_FOLDS)) for n in class_counts], centres, gain)
        others = draw_images(rng, [5000] * n_classes, centres, gain)
        right = predictions(fitted, np.arange(len(fitted.labels)), others.features) == others.labels
        recalls = np.array([right[[0, -1]][:, others.labels == k].mean(1) for k in range(n_classes)])
        gains.append(weights @ (recalls[:, 1] - recalls[:, 0]))
    return float(np.mean(gains))


def gain_of(points: float, metric: str, class_counts: Sequence[int]) -> float:
    """The gain that makes the last level truly better by this many points."""
    found = optimize.brentq(lambda gain: 100 * true_gain(gain, metric, class_counts) - points, 1.0, 2.0, xtol=1e-3)
    return float(found)


def study(seed: int, class_counts: Sequence[int], gain: float = 1.0, repeats: int = 1) -> dict[str, NDArray[Any]]:
    """The adjusted p values of one study on fresh images."""
    rng = np.random.default_rng([seed, 0])
    return adjusted_p(draw_images(rng, class_counts, class_centres(len(class_counts)), gain), seed, repeats)


@app.default
def main(studies: Annotated[int, Parameter(help="Number of simulated studies of each kind.")] = 2000) -> None:
    """Simulate studies and print how often they raise a false alarm and how often they find two points."""
    console = make_console()
    table = Table(title=f"{studies} studies of {N_LEVELS} levels on {N_FOLDS} folds", title_justify="left")
    for column in ("images", "repeats", "metric", "any false alarm, %", "2 points found, %"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for factor, repeats in ((1, 1), (1, 3), (4, 1)):
        counts = [factor * count for count in CLASS_COUNTS]
        without = [study(seed, counts, repeats=repeats) for seed in range(studies)]
        for metric in METRICS:
            gain = gain_of(2, metric, counts)
            with_gain = [study(seed, counts, gain, repeats)[metric][-1] for seed in range(studies)]
            alarms = sum(bool((adjusted[metric] < ALPHA).any()) for adjusted in without)
            shares = [_share(n, studies) for n in (alarms, sum(p < ALPHA for p in with_gain))]
            table.add_row(f"{sum(counts)}", f"{repeats}", metric, *shares)
    console.print(table)


def _share(n: int, studies: int) -> str:
    low, high = wilson(n, studies)
    return f"{100 * n / studies:.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    run_app(app)
