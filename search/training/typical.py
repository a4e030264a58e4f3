"""What the images of a training look like, and which images look otherwise.

Images are looked at in two ways: by their colours, and by the features that the network makes of them. In either,
an image's distance is that from the nearest class mean, in units of the scatter within classes (Mahalanobis
distance with one covariance for all classes), as in K. Lee et al., A simple unified framework for detecting
out-of-distribution samples and adversarial attacks, NeurIPS (2018). The covariance is shrunk by O. Ledoit and
M. Wolf, J. Multivariate Analysis 88 (2004).

Features alone are not enough: a network may see its own classes in whatever it is shown.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Floats = NDArray[np.floating]
Views = Mapping[str, Floats]
"""Ways to look at images: name -> values of each image, shape (n_images, n_values)."""

# Main directions of the values that are kept. More see less: along the others, many images lie far out.
MOST_DIRECTIONS = 16
# Share of images like those of the training that lie beyond one of the limits.
BEYOND = 0.01
PARTS = 5
# Images whose colours are measured at once.
AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """Where images like those of a training lie in one view; all arrays are float32.

    Attributes:
        centre: mean values, shape (n_values,).
        directions: shape (n_values, n_directions); along each, classes scatter by 1.
        means: of the classes, along the directions, shape (n_classes, n_directions).
        limit: the largest distance of what is typical, shape ().
    """

    centre: Floats
    directions: Floats
    means: Floats
    limit: Floats

    def __post_init__(self) -> None:
        n_values, n_directions = self.directions.shape
        if self.centre.shape != (n_values,) or self.means.shape[1:] != (n_directions,) or self.limit.ndim:
            raise ValueError("shapes that do not fit each other")

    def distances(self, values: Floats) -> Floats:
        """Distance of images from the nearest class, shape (n_images,), by their values (n_images, n_values)."""
        along = (values - self.centre) @ self.directions
        squares = [((along - mean) ** 2).sum(-1) for mean in self.means]
        return np.sqrt(np.min(squares, axis=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Typical:
    """Where images like those of a training lie: view -> region."""

    regions: Mapping[str, Region]

    def unlike(self, views: Views) -> NDArray[np.bool_]:
        """Which images, shape (n_images,), lie beyond the limit in any view."""
        beyond = [region.distances(views[name]) > region.limit for name, region in self.regions.items()]
        return np.any(beyond, axis=0)

    def to_bytes(self) -> bytes:
        """As safetensors."""
        regions = self.regions.items()
        return save(
            {f"{name}.{part}": value for name, region in regions for part, value in asdict(region).items()}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Typical":
        """Read what `to_bytes` has written.

        Raises:
            SafetensorError, TypeError, ValueError: the bytes hold something else.
        """
        regions: dict[str, dict[str, Floats]] = {}
        for key, value in load(data).items():
            name, _, part = key.partition(".")
            regions.setdefault(name, {})[part] = value
        return cls(regions={name: Region(**parts) for name, parts in regions.items()})


def views_of(images_NHWC: NDArray[np.uint8], features: Floats | None) -> dict[str, Floats]:
    """The views of images, shape (n_images, side, side, 3), as a network gets them.

    Args:
        features: that it makes of them, shape (n_images, n_features); None if there are none.
    """
    parts = [images_NHWC[first : first + AT_ONCE] for first in range(0, len(images_NHWC), AT_ONCE)]
    colours = [np.concatenate([part.mean((1, 2)), part.std((1, 2))], axis=1) for part in parts]
    views: dict[str, Floats] = {"colours": np.concatenate(colours)}
    return views if features is None else {**views, "features": features}


def fit_typical(views: Views, labels: NDArray[np.int64]) -> Typical | None:
    """Find where the images of a training lie.

    Args:
        views: of the images.
        labels: shape (n_images,).
    Returns:
        None for fewer images than a limit can be told from, and where all images are the same in all views.
    """
    varying = {name: values.astype(np.float64) for name, values in views.items() if np.ptp(values, axis=0).any()}
    if len(labels) < 1 / BEYOND or not varying:
        return None
    share = BEYOND / len(varying)
    return Typical(regions={name: _region(values, labels, share) for name, values in varying.items()})


def _region(values: Floats, labels: NDArray[np.int64], beyond: float) -> Region:
    """The region of the images; its limit is told by images that it was not fitted to."""
    # Every class is spread evenly over the parts.
    part = np.empty(len(labels), np.int64)
    part[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % PARTS
    distances = np.empty(len(labels))
    for k in range(PARTS):
        own = part == k
        distances[own] = _fitted(values[~own], labels[~own], np.inf).distances(values[own])
    return _fitted(values, labels, float(np.quantile(distances, 1 - beyond)))


def _fitted(values: Floats, labels: NDArray[np.int64], limit: float) -> Region:
    from sklearn.covariance import LedoitWolf  # a second, which only such a fit is worth
    from sklearn.decomposition import PCA

    spread = values.std(0)
    scale = np.where(spread > 0, spread, 1)  # values have units of their own
    centre = values.mean(0)
    pca = PCA(min(MOST_DIRECTIONS, *values.shape), random_state=0).fit((values - centre) / scale)
    along = pca.transform((values - centre) / scale)
    classes, own = np.unique(labels, return_inverse=True)
    means = np.stack([along[own == k].mean(0) for k in range(len(classes))])
    covariance = LedoitWolf(assume_centered=True).fit(along - means[own]).covariance_
    # Its eigenvectors, each divided by the scatter along it.
    variances, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(variances)
    return Region(
        centre=centre.astype(np.float32),
        directions=(pca.components_.T / scale[:, None] @ whitening).astype(np.float32),
        means=(means @ whitening).astype(np.float32),
        limit=np.array(limit, np.float32),
    )
