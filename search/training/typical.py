"""What the images of a training look like to its network, and which images look otherwise.

An image's distance is that of its features from the nearest class mean, in units of the scatter within classes
(Mahalanobis distance with one covariance for all classes), as in K. Lee et al., A simple unified framework for
detecting out-of-distribution samples and adversarial attacks, NeurIPS (2018). The covariance is shrunk by
O. Ledoit and M. Wolf, J. Multivariate Analysis 88 (2004).
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Floats = NDArray[np.floating]

# Main directions of the features that are kept. More see less: along the others, many images lie far out.
MOST_DIRECTIONS = 16
# Share of images like those of the training that lie beyond the limit.
BEYOND = 0.01
PARTS = 5


@dataclass(frozen=True, kw_only=True)
class Typical:
    """Where images like those of a training lie in the space of the features; all arrays are float32.

    Attributes:
        centre: mean features, shape (n_features,).
        directions: shape (n_features, n_directions); along each, classes scatter by 1.
        means: of the classes, along the directions, shape (n_classes, n_directions).
        limit: the distance beyond which `BEYOND` of such images lie, shape ().
    """

    centre: Floats
    directions: Floats
    means: Floats
    limit: Floats

    def distances(self, features: Floats) -> Floats:
        """Distance of images from the nearest class, shape (n_images,), of features (n_images, n_features)."""
        along = (features - self.centre) @ self.directions
        squares = ((along[:, None] - self.means) ** 2).sum(-1)
        return np.sqrt(squares.min(1))

    def unlike(self, features: Floats) -> NDArray[np.bool_]:
        """Which images, shape (n_images,), lie beyond the limit."""
        return self.distances(features) > self.limit

    def to_bytes(self) -> bytes:
        """As safetensors."""
        return save(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Typical":
        """Read what `to_bytes` has written.

        Raises:
            SafetensorError, TypeError, ValueError: the bytes hold something else.
        """
        found = cls(**load(data))
        n_features, n_directions = found.directions.shape
        if found.centre.shape != (n_features,) or found.means.shape[1:] != (n_directions,) or found.limit.ndim:
            raise ValueError("shapes that do not fit each other")
        return found


def fit_typical(features: Floats, labels: NDArray[np.int64]) -> Typical | None:
    """Find where the images of a training lie.

    Args:
        features: shape (n_images, n_features).
        labels: shape (n_images,).
    Returns:
        None for fewer images than a limit can be told from, and where all features are the same.
    """
    if len(labels) < 1 / BEYOND or not np.ptp(features, axis=0).any():
        return None
    # Every class is spread evenly over the parts.
    part = np.empty(len(labels), np.int64)
    part[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % PARTS
    distances = np.empty(len(labels))
    for k in range(PARTS):
        own = part == k
        distances[own] = _fitted(features[~own], labels[~own], np.inf).distances(features[own])
    return _fitted(features, labels, float(np.quantile(distances, 1 - BEYOND)))


def _fitted(features: Floats, labels: NDArray[np.int64], limit: float) -> Typical:
    from sklearn.covariance import LedoitWolf  # a second, which only such a fit is worth
    from sklearn.decomposition import PCA

    spread = features.std(0)
    scale = np.where(spread > 0, spread, 1)  # measured features have units of their own
    centre = features.mean(0)
    pca = PCA(min(MOST_DIRECTIONS, *features.shape), random_state=0).fit((features - centre) / scale)
    along = pca.transform((features - centre) / scale)
    classes, own = np.unique(labels, return_inverse=True)
    means = np.stack([along[own == k].mean(0) for k in range(len(classes))])
    covariance = LedoitWolf(assume_centered=True).fit(along - means[own]).covariance_
    # Its eigenvectors, each divided by the scatter along it.
    variances, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(variances)
    return Typical(
        centre=centre.astype(np.float32),
        directions=(pca.components_.T / scale[:, None] @ whitening).astype(np.float32),
        means=(means @ whitening).astype(np.float32),
        limit=np.array(limit, np.float32),
    )
