"""Images that show the same: within a class, under two labels, across given splits and across data sets."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.audit.duplicates import Pair, near_identical
from search.audit.finding import Finding, Weight
from search.audit.photos import Photos
from search.data.loading import linked
from search.data.names import count

_GROUP_THEM = (
    "Keep them on one side of every split: --groups-file FILE.csv writes groups that do, for --groups of a study."
)


@dataclass(frozen=True, kw_only=True)
class Sameness:
    """Which images show the same.

    Attributes:
        duplicate_of: place of the first image with the same pixels, or -1, shape (n_images,).
        pairs: near-identical images with different pixels.
        cluster: images with one number show the same, directly or through others, shape (n_images,).
        merged: as `cluster`, with the images of a given group linked as well: no split may separate these.
    """

    duplicate_of: NDArray[np.int64]
    pairs: tuple[Pair, ...]
    cluster: NDArray[np.int64]
    merged: NDArray[np.int64]

    def clusters(self) -> list[tuple[int, ...]]:
        """Places of the images of each cluster with at least two."""
        return _several(self.cluster.tolist())


def find_sameness(photos: Photos) -> Sameness:
    """Compare all readable images with each other."""
    n_images = len(photos.names)
    first: dict[bytes, int] = {}
    duplicate_of = np.full(n_images, -1)
    for place in np.flatnonzero(photos.readable).tolist():
        known = first.setdefault(photos.pixel_digests[place], place)
        if known != place:
            duplicate_of[place] = known
    different = np.array(list(first.values()), np.int64)
    pairs = tuple(
        Pair(first=int(different[p.first]), second=int(different[p.second]), correlation=p.correlation)
        for p in near_identical(photos.thumbnails[different])
    )
    copies = np.flatnonzero(duplicate_of >= 0)
    same = np.concatenate(
        [
            np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2),
            np.stack([duplicate_of[copies], copies], axis=1),
        ]
    )
    grouped = np.stack([photos.groups, np.arange(n_images)], axis=1)
    return Sameness(
        duplicate_of=duplicate_of,
        pairs=pairs,
        cluster=linked(n_images, same),
        merged=linked(n_images, np.concatenate([same, grouped])),
    )


def sameness_findings(photos: Photos, same: Sameness) -> list[Finding]:
    """What to know about images that show the same, the gravest first."""
    clusters = same.clusters()
    of_place = {place: cluster for cluster in clusters for place in cluster}
    near = dict.fromkeys(of_place[pair.first] for pair in same.pairs)
    identical = [
        (int(same.duplicate_of[each[0]]), *each) for each in _several(same.duplicate_of.tolist(), one=True)
    ]
    findings = [
        _crossing(photos, clusters),
        _two_labels(photos, clusters),
        _two_data_sets(photos, clusters),
        _identical(photos, identical),
        _near(photos, same, list(near)),
    ]
    return [finding for finding in findings if finding is not None]


def _crossing(photos: Photos, clusters: Sequence[tuple[int, ...]]) -> Finding | None:
    crossing = [
        each for each in clusters if len({photos.parts[place] for place in each if photos.parts[place]}) > 1
    ]
    if not crossing:
        return None
    return Finding(
        kind="crosses_split",
        weight=Weight.PROBLEM,
        title=f"{count(len(crossing), 'picture')} in more than one part of the given split",
        details=_listed(photos, crossing, lambda place: photos.parts[place] or "no part"),
        advice="Scores on such a part are flattered. Keep each picture in one part alone.",
        images=tuple(crossing),
    )


def _two_labels(photos: Photos, clusters: Sequence[tuple[int, ...]]) -> Finding | None:
    contradictory = [each for each in clusters if len(set(photos.labels[list(each)].tolist())) > 1]
    if not contradictory:
        return None
    return Finding(
        kind="two_labels",
        weight=Weight.PROBLEM,
        title=f"{count(len(contradictory), 'picture')} under two labels",
        details=_listed(photos, contradictory, lambda place: photos.classes[photos.labels[place]]),
        advice="Look at them side by side, correct the wrong label, and remove the copy.",
        images=tuple(contradictory),
    )


def _two_data_sets(photos: Photos, clusters: Sequence[tuple[int, ...]]) -> Finding | None:
    shared = [each for each in clusters if len(set(photos.source[list(each)].tolist())) > 1]
    if not shared:
        return None
    return Finding(
        kind="two_data_sets",
        weight=Weight.PROBLEM,
        title=f"{count(len(shared), 'picture')} in more than one data set",
        details=_listed(photos, shared, lambda place: photos.sources[photos.source[place]]),
        advice="A transfer to a data set that shares images is no transfer. Remove them from one of the two.",
        images=tuple(shared),
    )


def _identical(photos: Photos, clusters: Sequence[tuple[int, ...]]) -> Finding | None:
    if not clusters:
        return None
    copies = sum(len(each) - 1 for each in clusters)
    of_files = sum(len(each) - len({photos.file_digests[place] for place in each}) for each in clusters)
    return Finding(
        kind="identical",
        weight=Weight.CHECK,
        title=f"{count(copies, 'copy', 'copies')} of {count(len(clusters), 'image')}, pixel by pixel",
        details=(f"the same file byte by byte: {of_files:,}", *_listed(photos, clusters)),
        advice="Remove the copies, which count a picture more than once, or group them with --groups-file.",
        images=tuple(clusters),
    )


def _near(photos: Photos, same: Sameness, clusters: Sequence[tuple[int, ...]]) -> Finding:
    pairs = same.pairs
    if not pairs:
        return Finding(kind="near_identical", weight=Weight.FINE, title="no near-identical images")
    n_images = len({place for pair in pairs for place in (pair.first, pair.second)})
    sure = sorted(pairs, key=lambda pair: -pair.correlation)
    return Finding(
        kind="near_identical",
        weight=Weight.CHECK,
        title=(
            f"{count(len(pairs), 'nearly identical pair')}: {count(n_images, 'image')} of "
            f"{count(len(clusters), 'picture')}"
        ),
        details=tuple(
            f"{photos.title(pair.first)} – {photos.title(pair.second)}  correlation {pair.correlation:.2f}"
            for pair in sure
        ),
        advice=_GROUP_THEM,
        images=tuple(clusters),
    )


def _several(numbers: Iterable[int], *, one: bool = False) -> list[tuple[int, ...]]:
    """Places by number, where a number has at least two; with `one`, where it has any and is not -1."""
    by_number: defaultdict[int, list[int]] = defaultdict(list)
    for place, number in enumerate(numbers):
        if number >= 0:
            by_number[number].append(place)
    return [tuple(places) for places in by_number.values() if one or len(places) > 1]


def _listed(
    photos: Photos, clusters: Iterable[tuple[int, ...]], what: Callable[[int], str] | None = None
) -> tuple[str, ...]:
    return tuple(
        " – ".join(photos.title(place) + (f" ({what(place)})" if what else "") for place in cluster)
        for cluster in clusters
    )
