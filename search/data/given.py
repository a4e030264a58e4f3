"""The locked test set and the comparison's folds: given by the data set, or made."""

from collections.abc import Sequence

import numpy as np

from search.common.errors import InputError
from search.data.imageset import Listing
from search.data.names import few
from search.data.splits import TEST_SHARE, Indices, Split, hold_out, stratified_folds

_TEST = {"test", "testing"}
_DEVELOPMENT = {"train", "training", "val", "valid", "validation", "dev"}


def locked_test_set(listing: Listing, seed: int) -> Split:
    """The test set as the `val` side of a split: the given one, or a stratified fifth of the images.

    Raises:
        InputError: too few images or groups, a given test set without images of two classes, or a group that has
            images on both sides of it.
    """
    given = _given_test_set(listing)
    if given is None:
        try:
            return hold_out(listing.labels, listing.groups, TEST_SHARE, seed)
        except InputError:
            n, kind = len(listing.names), "images"
            if listing.groups is not None:
                n, kind = len(np.unique(listing.groups)), "groups"
            least = round(1 / TEST_SHARE)
            raise InputError(
                f"{listing.source}: a locked test set of {TEST_SHARE:.0%} needs at least {least} {kind}; found {n}"
            ) from None
    everything = np.arange(len(listing.names))
    for side, name in ((given, "test"), (np.setdiff1d(everything, given), "training")):
        if len(np.unique(listing.labels[side])) < 2:
            raise InputError(f"{listing.source}: the given {name} images are not of two classes or more")
    split = Split(train=np.setdiff1d(everything, given), val=given)
    if listing.groups is not None:
        crossing = np.intersect1d(listing.groups[split.train], listing.groups[split.val])
        if len(crossing):
            names = [listing.names[i] for i in np.flatnonzero(listing.groups == crossing[0])]
            raise InputError(
                f"{listing.source}: {len(crossing)} groups have images on both sides of the given test set, "
                f"such as that of {few(names, 2)}"
            )
    return split


def given_folds(listing: Listing) -> tuple[str, ...] | None:
    """The fold of each image that the data set gives; None: it gives none.

    Raises:
        InputError: parts that are neither a test set nor folds.
    """
    if listing.fold_names is not None:
        return listing.fold_names
    if listing.parts is None:
        return None
    folds = {part for part in listing.parts if part not in _TEST | _DEVELOPMENT}
    if not folds:
        return None
    if mixed := sorted(set(listing.parts) & _DEVELOPMENT):
        raise InputError(
            f"{listing.source}: the given parts are {few(sorted(folds), 3)} and also {few(mixed)}; a data set "
            "gives either train, val and test, or folds"
        )
    return listing.parts


def n_comparison_folds(listing: Listing, asked: int) -> int:
    """Number of folds of the comparison: of the given ones, or as asked for."""
    names = given_folds(listing)
    if names is None:
        return asked
    test = _given_test_set(listing)
    n_folds = len(set(names)) if test is None else len({name for name in names if name not in _TEST})
    if n_folds < 2:
        raise InputError(f"{listing.source}: only one fold is given, '{names[0]}'; a comparison needs two")
    return n_folds


def comparison_folds(listing: Listing, n_folds: int, seed: int, among: Indices) -> list[Split]:
    """Folds of the comparison: the given ones, in order of their names, or stratified ones.

    Args:
        n_folds: of stratified folds.
        among: indices of the development set.
    Raises:
        InputError: n_folds exceeds the number of images or groups.
    """
    names = given_folds(listing)
    if names is None:
        return stratified_folds(listing.labels, listing.groups, n_folds=n_folds, seed=seed, among=among)
    own = np.array(names)[among]
    splits = []
    for name in np.unique(own):
        val = among[own == name]
        train = np.setdiff1d(among, val)
        if listing.groups is not None:
            train = train[~np.isin(listing.groups[train], listing.groups[val])]
        splits.append(Split(train=train, val=val))
    return splits


def unlearnable_classes(listing: Listing) -> list[str]:
    """Notes on classes that are never both trained and validated, because they are in one group or fold.

    Raises:
        InputError: fewer than two classes can be, so that a study can tell nothing.
    """
    folds = given_folds(listing)
    for kind, units in (("group", listing.groups), ("given fold", None if folds is None else np.array(folds))):
        if units is None:
            continue
        single = [
            name for code, name in enumerate(listing.classes) if len(np.unique(units[listing.labels == code])) == 1
        ]
        if len(listing.classes) - len(single) < 2:
            raise InputError(
                f"{listing.source}: each class is in one {kind} ({few(single)}), so that folds would validate "
                f"only classes that they never train on; is the {kind} the class?"
            )
        if single:
            return [f"all images of {few(single)} are in one {kind}: they are never both trained and validated"]
    return []


def require_agreement(source: Listing, target: Listing) -> None:
    """Refuse a target that shares no class name with the source.

    Raises:
        InputError: names the --class-names that could fit.
    """
    if set(source.classes) & set(target.classes):
        return
    pairs = ",".join(f"{label}=..." for label in target.classes)
    raise InputError(
        f"{target.source} has the classes {few(target.classes)} and {source.source} has {few(source.classes)}: "
        f"none has the same name; say which is which with --class-names {pairs}"
    )


def _given_test_set(listing: Listing) -> Indices | None:
    if listing.parts is None:
        return None
    indices = np.flatnonzero([part in _TEST for part in listing.parts])
    return indices if len(indices) else None


def example_rows(listing: Listing, n_rows: int = 5) -> list[tuple[str, ...]]:
    """Some images as they are read: name, class, and group, part and fold where there are any."""
    rows: Sequence[int] = np.unique(np.linspace(0, len(listing.names) - 1, n_rows).round().astype(int)).tolist()
    found = []
    for row in rows:
        cells = [listing.names[row], listing.classes[listing.labels[row]]]
        cells += [] if listing.groups is None else [f"group {listing.groups[row]}"]
        cells += [values[row] for values in (listing.parts, listing.fold_names) if values is not None]
        found.append(tuple(cells))
    return found
