"""Class counts, and whether the splits of a study are possible with them."""

import numpy as np

from search.audit.finding import Finding, Weight
from search.audit.photos import Photos
from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.data.given import comparison_folds, locked_test_set, n_comparison_folds
from search.data.imageset import Listing
from search.data.names import count
from search.data.splits import small_class_warnings


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
        listing = _listing(photos, number, places)
        labels, n_asked = listing.labels, n_folds
        try:
            n_asked = n_comparison_folds(listing, n_folds)
            development = locked_test_set(listing, derive_seed(seed, "test set")).train
            comparison_folds(listing, n_asked, seed, development)
        except InputError as error:
            findings.append(
                Finding(
                    kind="no_folds",
                    weight=Weight.PROBLEM,
                    title=f"{name}: a test set and {n_asked} folds are not possible",
                    details=(str(error),),
                    advice="Use fewer --folds, or add images.",
                )
            )
            continue
        warnings = tuple(small_class_warnings(listing.classes, labels, development, n_asked))
        n_test = len(labels) - len(development)
        findings.append(
            Finding(
                kind="rare_classes" if warnings else "folds",
                weight=Weight.CHECK if warnings else Weight.FINE,
                title=(
                    f"{name}: {count(n_test, 'image')} for a test set and {n_asked} folds of "
                    f"{len(development):,}" + (", but rare classes" if warnings else "")
                ),
                details=warnings,
                advice="Add images of these classes, or use fewer --folds." if warnings else "",
            )
        )
    return findings


def _listing(photos: Photos, number: int, places: np.ndarray) -> Listing:
    """The readable images of a data set, as a study lists them."""
    codes, labels = np.unique(photos.labels[places], return_inverse=True)
    parts = tuple(photos.parts[place] for place in places)
    return Listing(
        source=photos.sources[number],
        classes=tuple(photos.classes[code] for code in codes),
        names=tuple(photos.names[place] for place in places),
        labels=labels.astype(np.int64),
        groups=photos.groups[places] if photos.has_groups[number] else None,
        parts=parts if any(parts) else None,
    )
