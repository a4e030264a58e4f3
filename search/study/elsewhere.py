"""Data sets on which networks are scored as they are."""

from typing import Literal

from search.data.classes import class_notes, shared_classes
from search.data.imageset import Listing
from search.training.types import Elsewhere


def elsewhere(
    source: Listing, other: Listing, *, phase: Literal["untouched", "shift"] = "untouched", adapt: bool = False
) -> tuple[Elsewhere, ...]:
    """How networks of the source are scored on another data set; nothing if they share fewer than two classes.

    Args:
        phase, adapt: see `search.training.types.Elsewhere`.
    """
    shared = shared_classes(_counts(source), _counts(other))
    if not shared:
        return ()
    places = {name: number for number, name in enumerate(source.classes) if name in shared}
    classes = tuple(places.get(name, -1) for name in other.classes)
    return (Elsewhere(data=other.source, phase=phase, classes=classes, adapt=adapt),)


def notes(source: Listing, other: Listing) -> list[str]:
    """What a user should know about classes that only one of them has."""
    return class_notes(source.source, _counts(source), other.source, _counts(other))


def _counts(listing: Listing) -> dict[str, int]:
    return dict(zip(listing.classes, listing.class_counts().tolist(), strict=True))
