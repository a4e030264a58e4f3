"""Estimates of contrasts between levels that were trained in the same runs, with simultaneous intervals.

The unit is the image, because images are what a study has few of: a contrast is averaged over runs first, and its
variance is that of the images' contrasts within their classes. Two things add to it. Folds scatter more than their
images explain, since all images of a fold share one trained network: `phi` >= 1 is estimated over all levels and
folds. And every run trains on the same images: what other training images would change cannot be seen within one
data set, so the variance is multiplied by the measure's inflation.

Adjusted p values and intervals come from the same draws of the family's largest |t|, so they cannot disagree.

Sources: Nadeau and Bengio, Machine Learning 52 (2003), for training sets that overlap; Westfall and Young,
Resampling-based multiple testing (1993), for max |t|; Satterthwaite, Biometrics Bulletin 2 (1946); Pocock,
Biometrika 64 (1977), for one boundary over several looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search.analysis.measures import Floats

CONFIDENCE = 0.95
DRAWS, SEED = 20_000, 0
LEAST_DF = 4.0
# Differences smaller than this part of the largest score are rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of the same images by all levels in all runs.

    Attributes:
        values: shape (n_runs, n_levels, n_images); higher is better.
        folds: shape (n_runs, n_images): the fold that an image was scored in.
        labels: class of each image, shape (n_images,).
        groups: group of each image, shape (n_images,), such as its patient; None: every image its own.
        balanced, inflation: see `search.analysis.measures.Measure`.
    """

    values: Floats
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    balanced: bool = False
    inflation: float = 1.0

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.values)


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Contrasts with their errors, not yet adjusted for their number.

    Attributes:
        estimate: shape (n_contrasts,).
        covariance: of the estimates, shape (n_contrasts, n_contrasts).
        df: degrees of freedom of the covariance.
        phi: how much more folds scatter than their images explain.
        persistent: part of each variance that more runs cannot reduce; with one run half of it is assumed.
    """

    estimate: Floats
    covariance: Floats
    df: float
    phi: float
    persistent: Floats

    @property
    def se(self) -> Floats:
        """Standard errors."""
        return np.sqrt(np.diag(self.covariance))

    def se_after(self, times: float) -> Floats:
        """Standard errors that so many times the runs would have."""
        return np.sqrt(self.persistent + (np.diag(self.covariance) - self.persistent) / times)


@dataclass(frozen=True, kw_only=True)
class Simultaneous:
    """A family's intervals and p values.

    Attributes:
        critical: half the width of an interval, in standard errors.
        low, high, p: shape (n_contrasts,); p < 1 - CONFIDENCE exactly where the interval excludes zero.
    """

    critical: float
    low: Floats
    high: Floats
    p: Floats


def estimate(scores: Scores, contrasts: Floats) -> Estimates:
    """Estimate contrasts, averaged over runs.

    Args:
        contrasts: shape (n_contrasts, n_levels); each row sums to zero.
    Raises:
        ValueError: shapes differ, or scores are not finite.
    """
    n_runs, n_levels, n_images = scores.values.shape
    if contrasts.ndim != 2 or contrasts.shape[1] != n_levels:
        raise ValueError(f"contrasts of {n_levels} levels expected, got shape {contrasts.shape}")
    if scores.folds.shape != (n_runs, n_images) or scores.labels.shape != (n_images,):
        raise ValueError(
            f"folds {scores.folds.shape} or labels {scores.labels.shape} do not fit {n_images} images"
        )
    if not np.isfinite(scores.values).all():
        raise ValueError("scores are not finite")
    classes = _Classes(scores.labels, balanced=scores.balanced)
    # The levels' deviations from their mean show how folds scatter, whatever is asked about.
    deviations = np.eye(n_levels) - 1 / n_levels
    m = len(contrasts)
    every_run = _without_rounding(
        np.einsum("ml,rln->rmn", np.vstack([contrasts, deviations]), scores.values), scores
    )
    mean = every_run.mean(0)
    images = classes.deviations(mean)
    # Around the mean over runs, so that what a level does in every fold is no scatter.
    observed = (every_run - classes.means(mean)) * classes.correction * classes.weights / n_runs
    v_images = _squares(images[:m], scores.groups)
    v_observed = np.sum([_squares(run, scores.groups) for run in observed], axis=0)
    v_folds = np.sum(
        [
            _squares(run, folds) * _small_sample(len(np.unique(folds)))
            for run, folds in zip(observed, scores.folds, strict=True)
        ],
        axis=0,
    )
    seen = float(np.trace(v_observed[m:, m:]))
    phi = max(1.0, float(np.trace(v_folds[m:, m:])) / seen) if seen > 0 else 1.0
    covariance = scores.inflation * (v_images + (phi - 1) * v_observed[:m, :m])
    # No contrast is known better than to one image.
    single_image = np.abs(classes.weights * mean[:m]).max(1) ** 2
    covariance += np.diag(np.maximum(0, scores.inflation * single_image - np.diag(covariance)))
    return Estimates(
        estimate=(classes.weights * mean[:m]).sum(1),
        covariance=covariance,
        df=_degrees_of_freedom(images[:m], classes, scores.groups),
        phi=phi,
        persistent=_persistent(every_run[:, :m], classes, scores, np.diag(covariance)),
    )


def simultaneous(found: Estimates, looks: Sequence[int] = (1,)) -> Simultaneous:
    """Adjust a family's intervals and p values for its number of contrasts and for several looks.

    Args:
        looks: number of runs at each planned look, ascending; all looks have the same boundary. What a run adds is
            taken as independent of what was there, which is the hardest case.
    """
    errors = found.se
    ratio = np.divide(found.estimate, errors, out=np.zeros_like(errors), where=errors > 0)
    largest = _largest_t(found.covariance, errors, found.df, looks)
    # The p value counts draws, so the boundary is the draw at which it falls below the level.
    allowed = int((1 - CONFIDENCE) * (DRAWS + 1)) - 1
    critical = float(largest[DRAWS - 1 - allowed])
    exceeding = DRAWS - np.searchsorted(largest, np.abs(ratio), side="left")
    return Simultaneous(
        critical=critical,
        low=found.estimate - critical * errors,
        high=found.estimate + critical * errors,
        p=np.where(errors > 0, (1 + exceeding) / (DRAWS + 1), 1.0),
    )


def heterogeneity(scores: Scores, contrasts: Floats, settings: NDArray[np.int64]) -> float:
    """Test whether contrasts differ between settings by more than their runs explain.

    Args:
        settings: of each run, shape (n_runs,).
    Returns:
        p value of the largest deviation, over all contrasts and settings; NaN with fewer than two settings.
    """
    numbers = np.unique(settings)
    if len(numbers) < 2:
        return float("nan")
    classes = _Classes(scores.labels, balanced=scores.balanced)
    every_run = np.einsum("ml,rln->rmn", contrasts, scores.values)
    by_setting = np.stack([every_run[settings == number].mean(0) for number in numbers])
    differences = _without_rounding(by_setting - by_setting.mean(0), scores).reshape(-1, every_run.shape[-1])
    images = classes.deviations(differences)
    # All of this scatter is of runs, so all of it is larger than images explain.
    phi = estimate(scores, contrasts).phi
    found = Estimates(
        estimate=(classes.weights * differences).sum(1),
        covariance=scores.inflation * phi * _squares(images, scores.groups),
        df=_degrees_of_freedom(images, classes, scores.groups),
        phi=phi,
        persistent=np.zeros(len(images)),
    )
    return float(simultaneous(found).p.min())


def image_mean(values: Floats, scores: Scores) -> tuple[Floats, Floats]:
    """Means over images, and their variances by the scatter of images within classes.

    Args:
        values: shape (..., n_images).
        scores: whose labels, weights, groups and inflation count.
    Returns:
        Two arrays of shape (...).
    """
    classes = _Classes(scores.labels, balanced=scores.balanced)
    flat = values.reshape(-1, values.shape[-1])
    variances = scores.inflation * np.diag(_squares(classes.deviations(flat), scores.groups))
    return (values * classes.weights).sum(-1), variances.reshape(values.shape[:-1])


def image_df(values: Floats, scores: Scores) -> float:
    """Degrees of freedom of the variance of a mean over images.

    Args:
        values, scores: as in `image_mean`; values of shape (n_images,).
    """
    classes = _Classes(scores.labels, balanced=scores.balanced)
    return _degrees_of_freedom(classes.deviations(values[None]), classes, scores.groups)


def critical_value(contrasts: Floats, df: float, looks: Sequence[int] = (1,)) -> float:
    """The critical value that a family will have if all levels scatter alike; to plan a study."""
    covariance = contrasts @ contrasts.T
    found = Estimates(
        estimate=np.zeros(len(contrasts)),
        covariance=covariance,
        df=df,
        phi=1.0,
        persistent=np.zeros(len(contrasts)),
    )
    return simultaneous(found, looks).critical


class _Classes:
    """Weights of images in a mean, and means and deviations within classes."""

    def __init__(self, labels: NDArray[np.int64], *, balanced: bool) -> None:
        numbers, self.index, self.counts = np.unique(labels, return_inverse=True, return_counts=True)
        shares = np.full(len(numbers), 1 / len(numbers)) if balanced else self.counts / len(labels)
        self.weights: Floats = (shares / self.counts)[self.index]
        self.correction: Floats = np.sqrt(_small_sample(self.counts))[self.index]
        self.members = np.eye(len(numbers))[self.index]

    def means(self, values: Floats) -> Floats:
        """The mean of each image's class; values and result of shape (..., n_images)."""
        means: Floats = (values @ self.members / self.counts)[..., self.index]
        return means

    def deviations(self, values: Floats) -> Floats:
        """Each image's weighted deviation from its class's mean."""
        deviations: Floats = (values - self.means(values)) * self.correction * self.weights
        return deviations


def _without_rounding(differences: Floats, scores: Scores) -> Floats:
    """Zero where levels score the same: a third of three equal scores, thrice, may miss them by a last digit."""
    return np.where(np.abs(differences) > ROUNDING * np.abs(scores.values).max(), differences, 0.0)


def _small_sample(n: NDArray[np.int64] | int) -> Floats:
    """n / (n - 1), for a variance around a mean that was estimated; 1 for a single value, whose is unknown."""
    n = np.asarray(n, dtype=np.float64)
    return n / np.maximum(n - 1, np.where(n > 1, 0.5, 1.0))


def _squares(deviations: Floats, groups: NDArray[np.int64] | None) -> Floats:
    """Sum over images, or over groups of images, of the products of deviations; shape (m, m) from (m, n)."""
    if groups is not None:
        _, index = np.unique(groups, return_inverse=True)
        deviations = deviations @ np.eye(index.max() + 1)[index]
    products: Floats = deviations @ deviations.T
    return products


def _degrees_of_freedom(images: Floats, classes: _Classes, groups: NDArray[np.int64] | None) -> float:
    """Satterthwaite's, over classes: the median over contrasts."""
    parts = images**2 @ classes.members
    spread = (parts**2 / np.maximum(classes.counts - 1, 1)).sum(1)
    known = spread > 0
    if not known.any():
        return LEAST_DF
    df = float(np.median(parts[known].sum(1) ** 2 / spread[known]))
    if groups is not None:
        df = min(df, len(np.unique(groups)) - 1)
    return max(LEAST_DF, df)


def _persistent(every_run: Floats, classes: _Classes, scores: Scores, variance: Floats) -> Floats:
    """The part of the variance of contrasts that all runs share, because they share the images."""
    n_runs = len(every_run)
    if n_runs == 1:
        return variance / 2
    shared = np.diag(_squares(classes.deviations(every_run.mean(0)), scores.groups))
    single = np.mean([np.diag(_squares(classes.deviations(run), scores.groups)) for run in every_run], axis=0)
    part: Floats = scores.inflation * np.clip((n_runs * shared - single) / (n_runs - 1), 0, None)
    return np.minimum(part, variance)


def _largest_t(covariance: Floats, errors: Floats, df: float, looks: Sequence[int]) -> Floats:
    """Draws of the largest |t| over contrasts and looks if nothing differs, ascending, shape (DRAWS,)."""
    random = np.random.default_rng(SEED)
    scale = np.divide(1, errors, out=np.zeros_like(errors), where=errors > 0)
    values, vectors = np.linalg.eigh(covariance * np.outer(scale, scale))
    root = vectors * np.sqrt(np.maximum(values, 0))
    denominator = np.sqrt(random.chisquare(df, DRAWS) / df)
    largest, total, before = np.zeros(DRAWS), np.zeros((DRAWS, len(errors))), 0
    for n_runs in looks:
        total += np.sqrt(n_runs - before) * (random.normal(size=total.shape) @ root.T)
        before = n_runs
        largest = np.maximum(largest, np.abs(total).max(1, initial=0) / np.sqrt(n_runs))
    return np.sort(largest / denominator)


def probabilities(estimate: float, se: float, df: float, margin: float) -> tuple[float, float, float]:
    """Probabilities that the true contrast is above the margin, within it, and below minus the margin.

    They are those of the estimate's t distribution, for this contrast by itself.
    """
    if se == 0:
        return float(estimate > margin), float(abs(estimate) <= margin), float(estimate < -margin)
    better = float(stats.t.sf((margin - estimate) / se, df))
    worse = float(stats.t.cdf((-margin - estimate) / se, df))
    return better, max(0.0, 1 - better - worse), worse
