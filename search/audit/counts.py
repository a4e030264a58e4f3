"""Class counts, and whether the splits of a study are possible with them."""

import numpy as np

from search.audit.finding import Finding, Weight
from search.audit.photos import Photos
from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.data.names import count
from search.data.splits import TEST_SHARE, hold_out, small_class_warnings, stratified_folds


def class_counts(photos: Photos) -> np.ndarray:
    """Readable images of each class in each data set, shape (n_classes, n_sources)."""
    counts = np.zeros((len(photos.classes), len(photos.sources)), np.int64)
    np.add.at(counts, (photos.labels[photos.readable], photos.source[photos.readable]), 1)
    return counts


def split_findings(photos: Photos, n_folds: int, *, seed: int) -> list[Finding]:
    """Whether each data set allows a locked test set and the asked folds, as a study with this seed makes them.

    Args:
        n_folds: folds of the comparison.
    """
    findings = []
    for number, name in enumerate(photos.sources):
        places = photos.places(number)
        codes, labels = np.unique(photos.labels[places], return_inverse=True)
        groups = photos.groups[places] if photos.has_groups[number] else None
        try:
            development = hold_out(labels, groups, TEST_SHARE, derive_seed(seed, "test set")).train
            stratified_folds(labels, groups, n_folds=n_folds, seed=seed, among=development)
        except InputError as error:
            findings.append(
                Finding(
                    kind="no_folds",
                    weight=Weight.PROBLEM,
                    title=f"{name}: a test set and {n_folds} folds are not possible",
                    details=(str(error),),
                    advice="Use fewer --folds, or add images.",
                )
            )
            continue
        classes = [photos.classes[code] for code in codes]
        warnings = tuple(small_class_warnings(classes, labels, development, n_folds))
        n_test = len(labels) - len(development)
        findings.append(
            Finding(
                kind="rare_classes" if warnings else "folds",
                weight=Weight.CHECK if warnings else Weight.FINE,
                title=(
                    f"{name}: {count(n_test, 'image')} for a test set and {n_folds} folds of "
                    f"{len(development):,}" + (", but rare classes" if warnings else "")
                ),
                details=warnings,
                advice="Add images of these classes, or use fewer --folds." if warnings else "",
            )
        )
    return findings
