"""Classes of two data sets: which both have, and what follows where only one of them has a class."""

from collections.abc import Mapping

# The share of one class's images that are recognised says nothing about telling classes apart.
LEAST_SHARED = 2


def shared_classes(own: Mapping[str, int], other: Mapping[str, int]) -> list[str]:
    """Classes of which both data sets have images; with fewer than two in common, none.

    Args:
        own, other: class -> images.
    """
    shared = [name for name, n in own.items() if n and other.get(name)]
    return shared if len(shared) >= LEAST_SHARED else []


def class_notes(source: str, own: Mapping[str, int], target: str, other: Mapping[str, int]) -> list[str]:
    """What the classes of two data sets mean for networks of the source that score the target as they are.

    Args:
        source, target: names of the data sets.
        own, other: their classes -> images.
    """
    if not shared_classes(own, other):
        return [
            f"{target} shares fewer than two classes with {source}, so networks are not scored there as they are; "
            "--class-names renames labels"
        ]
    notes = []
    lacking = [name for name, n in other.items() if n and not own.get(name)]
    missing = [name for name, n in own.items() if n and not other.get(name)]
    if lacking:
        notes.append(
            f"{target} has images of {', '.join(lacking)}, which networks of {source} do not know: untouched, "
            "they are not scored"
        )
    if missing:
        notes.append(
            f"{target} has no {', '.join(missing)}: untouched networks of {source} may still predict it, which is "
            "then wrong"
        )
    return notes
