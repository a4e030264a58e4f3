"""Predictions for images: what a network says of them, and what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for images.

    Attributes:
        classes: of the network.
        probabilities: shape (n_images, n_classes).
        unlike: whether each image looks unlike those of the training, shape (n_images,); None if unknown.
        labels: true class of each image, None where it has none; None where nobody asked.
        groups: number of each image's group, such as its patient; None if every image is its own.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    unlike: NDArray[np.bool_] | None = None
    labels: tuple[str | None, ...] | None = None
    groups: tuple[int | None, ...] | None = None

    @property
    def predicted(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[k] for k in self.probabilities.argmax(1)]

    def only(self, indices: NDArray[np.int64]) -> "Predictions":
        """Some of the images, in this order."""
        return replace(
            self,
            names=_taken(self.names, indices),
            probabilities=self.probabilities[indices],
            unlike=None if self.unlike is None else self.unlike[indices],
            labels=None if self.labels is None else _taken(self.labels, indices),
            groups=None if self.groups is None else _taken(self.groups, indices),
        )

    def by_doubt(self) -> "Predictions":
        """The images with the least certain first."""
        return self.only(np.argsort(self.probabilities.max(1), kind="stable"))

    def labelled(self) -> "Predictions":
        """The images that have a label."""
        labels = self.labels or ()
        return self.only(np.array([k for k, label in enumerate(labels) if label is not None], np.int64))


def _taken(values: Sequence[Any], indices: NDArray[np.int64]) -> tuple[Any, ...]:
    return tuple(values[k] for k in indices)
