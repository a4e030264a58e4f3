"""Data sets on which networks are scored as they are: which classes count there."""

from collections.abc import Sequence

import numpy as np

from search.data.imageset import Listing
from search.training.types import Elsewhere

# The share of one class's images that are recognised says nothing about telling classes apart.
LEAST_SHARED = 2


def elsewhere(source: Listing, other: Listing, *, adapt: bool = False) -> tuple[Elsewhere, ...]:
    """How networks of the source are scored on another data set; nothing if they share fewer than two classes.

    Args:
        adapt: see `search.training.types.Elsewhere`.
    """
    if len(shared_classes(source, other)) < LEAST_SHARED:
        return ()
    places = {name: number for number, name in enumerate(source.classes)}
    classes = tuple(places.get(name, -1) for name in other.classes)
    return (Elsewhere(data=other.source, classes=classes, adapt=adapt),)


def shared_classes(source: Listing, other: Listing) -> list[str]:
    """Names of the classes of which both have images."""
    own, its = (
        [name for name, n in zip(listing.classes, listing.class_counts(), strict=True) if n]
        for listing in (source, other)
    )
    return [name for name in own if name in its]


def n_scored(source: Listing, other: Listing) -> int:
    """Number of images of another data set that networks of the source are scored on."""
    if len(shared := shared_classes(source, other)) < LEAST_SHARED:
        return 0
    counts = dict(zip(other.classes, other.class_counts().tolist(), strict=True))
    return sum(counts[name] for name in shared)


def class_notes(source: Listing, other: Listing) -> list[str]:
    """What a user should know about the classes that only one of them has."""
    shared = shared_classes(source, other)
    if len(shared) < LEAST_SHARED:
        found = shared[0] if shared else "none"
        return [
            f"{other.source} shares fewer than two classes with {source.source} ({found}), so networks are not "
            "scored there as they are; --class-names renames labels"
        ]
    notes = []
    if lacking := _without(other, shared):
        notes.append(
            f"{other.source}: networks of {source.source} do not know {', '.join(lacking)}; these images count in "
            "no score of untouched networks"
        )
    if missing := _without(source, shared):
        notes.append(
            f"{other.source} has no {', '.join(missing)}: untouched networks may still predict it, which then "
            "counts as wrong"
        )
    return notes


def _without(listing: Listing, names: Sequence[str]) -> list[str]:
    """Classes that have images, and are not among the names."""
    counts = np.asarray(listing.class_counts())
    return [name for name, n in zip(listing.classes, counts, strict=True) if n and name not in names]
