"""Findings on how images look: borders, padding, and images unlike the others."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from search.audit.borders import PADDED_SHARE, PERMUTATIONS, border_score, padding_p
from search.audit.finding import Finding, Weight
from search.audit.outliers import blurred, off_colour, off_size
from search.audit.photos import Photos
from search.data.names import count

_EXAMPLES = 6
_SURE_P = 0.01


def border_findings(photos: Photos, merged: NDArray[np.int64]) -> list[Finding]:
    """Whether the border of each data set's images predicts the class, and which classes have black padding.

    Args:
        merged: groups that no fold may separate, shape (n_images,).
    """
    findings = []
    for number, name in enumerate(photos.sources):
        places = photos.places(number)
        findings.append(_border(name, photos, places, merged))
        padding = _padding(name, photos, places)
        if padding is not None:
            findings.append(padding)
    return findings


def _border(name: str, photos: Photos, places: NDArray[np.int64], merged: NDArray[np.int64]) -> Finding:
    score = border_score(photos.rings[places], photos.labels[places], merged[places])
    if score is None:
        title = f"{name}: too few images to say whether the border predicts the class"
        return Finding(kind="border", weight=Weight.FINE, title=title)
    measured = (
        f"balanced accuracy {score.balanced_accuracy:.2f} from the border alone "
        f"(95 % interval {score.low:.2f} to {score.high:.2f}), chance {score.chance:.2f}",
        f"p = {score.p:.2g} from {PERMUTATIONS} permutations of the labels, 95 % of which stay below "
        f"{score.chance_high:.2f}",
    )
    if not score.is_above_chance:
        title = f"{name}: no sign that the border predicts the class"
        return Finding(kind="border", weight=Weight.FINE, title=title, details=measured)
    return Finding(
        kind="border",
        weight=Weight.PROBLEM if score.p <= _SURE_P else Weight.CHECK,
        title=f"{name}: the border alone predicts the class, {_beaten(score.balanced_accuracy - score.chance)}",
        details=measured,
        advice=(
            "A network can score without a look at the cell. Compare backgrounds, stains and crops of the "
            "classes; cut the border off, or take all classes from the same slides. Large cells may reach the "
            "border."
        ),
        images=_examples(photos, places),
        noted=False,
    )


def _examples(photos: Photos, places: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Some images of each class."""
    labels = photos.labels[places]
    return tuple(tuple(places[labels == label][:_EXAMPLES].tolist()) for label in np.unique(labels))


def _beaten(difference: float) -> str:
    return f"{100 * difference:.0f} points above chance"


def _padding(name: str, photos: Photos, places: NDArray[np.int64]) -> Finding | None:
    padded = photos.numbers["black_share"][places] > PADDED_SHARE
    if not padded.any():
        return None
    labels = photos.labels[places]
    p = padding_p(padded, labels)
    shares = {int(label): float(padded[labels == label].mean()) for label in np.unique(labels)}
    order = sorted(shares, key=lambda label: -shares[label])
    most, least = photos.classes[order[0]], photos.classes[order[-1]]
    return Finding(
        kind="black_padding",
        weight=Weight.CHECK,
        title=(
            f"{name}: black padding in {count(int(padded.sum()), 'image')}, most often {most} "
            f"({shares[order[0]]:.0%}), least {least} ({shares[order[-1]]:.0%})"
        ),
        details=(
            *(
                f"{photos.classes[label]}: {int(padded[labels == label].sum())} of {int((labels == label).sum())}"
                for label in order
            ),
            f"classes differ this much by chance with p = {p:.2g}",
        ),
        advice="Cut the images so that no padding is left, or leave padded images out.",
        images=tuple(
            tuple(places[padded & (labels == label)].tolist()) for label in order if padded[labels == label].any()
        ),
    )


def outlier_findings(photos: Photos) -> list[Finding]:
    """Images that are far less sharp, of another colour, or of another size than the others of their data set."""

    def sharpness(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        return blurred(photos.numbers["sharpness"][places], photos.labels[places])

    def colour(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        density = 100 * photos.numbers["optical_density"][places]
        lab = (photos.numbers[channel][places] for channel in ("lightness", "green_red", "blue_yellow"))
        return off_colour(np.stack([density, *lab], axis=1), photos.labels[places])

    def size(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        return off_size(photos.size_px[places])

    return [
        *_outliers(
            photos,
            "blurred",
            "far less sharp than others of the class",
            "Leave out what no one could classify.",
            sharpness,
        ),
        *_outliers(
            photos,
            "off_colour",
            "far from others of the class in colour or stain",
            "Look whether they come from another stain, lamp or camera, and whether only some classes do.",
            colour,
        ),
        *_outliers(
            photos,
            "off_size",
            "of another scale or shape",
            "A study scales every centre square to one size: cells of other scales look larger or smaller.",
            size,
        ),
    ]


def _outliers(
    photos: Photos, kind: str, what: str, advice: str, test: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> list[Finding]:
    all_places = [photos.places(number) for number in range(len(photos.sources))]
    found = [places[test(places)] for places in all_places]
    flagged = np.concatenate(found)
    if not len(flagged):
        return []
    n_images = sum(map(len, all_places))
    return [
        Finding(
            kind=kind,
            weight=Weight.CHECK,
            title=f"{count(len(flagged), 'image')} of {n_images:,} {what}",
            details=tuple(photos.title(place) for place in flagged.tolist()),
            advice=advice,
            images=tuple((place,) for place in flagged.tolist()),
        )
    ]
