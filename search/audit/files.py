"""Findings on files: damaged ones, several pages, masks beside images, unusual modes, and the reader's notes."""

import re
from collections import Counter

import numpy as np

from search.audit.finding import Finding, Weight
from search.audit.photos import Photos
from search.data.names import count

# Nearly all pixels are of one of two grey levels.
_MASK_SHARE = 0.95
# Not "seg": so haematologists abbreviate segmented neutrophils.
_MASK_NAME = re.compile(
    r"(?:^|[^a-z])(?:masks?|segmentations?|annotations?|ground_?truth|gt|overlays?)(?:$|[^a-z])", re.IGNORECASE
)
_EVERYDAY = ("RGB",)


def file_findings(photos: Photos) -> list[Finding]:
    """What the files themselves show."""
    findings = [_damaged(photos), _masks(photos), _pages(photos), _modes(photos), _notes(photos)]
    return [finding for finding in findings if finding is not None]


def _damaged(photos: Photos) -> Finding | None:
    problems = [problem for problem in photos.problems if problem]
    if not problems:
        return None
    return Finding(
        kind="damaged",
        weight=Weight.PROBLEM,
        title=f"{count(len(problems), 'damaged image')}",
        details=tuple(problems),
        advice="Replace them; a study stops at them unless --skip-bad leaves them out.",
    )


def _masks(photos: Photos) -> Finding | None:
    named = [bool(_MASK_NAME.search(name)) for name in photos.names]
    two_tone = photos.numbers["two_tone_share"] >= _MASK_SHARE  # never of a damaged image, whose share is NaN
    places = np.flatnonzero(two_tone | (np.array(named) & photos.readable)).tolist()
    if not places:
        return None
    return Finding(
        kind="masks",
        weight=Weight.PROBLEM,
        title=f"{count(len(places), 'image')} may be masks",
        details=tuple(
            f"{photos.title(place)}: "
            + " and ".join(["named like one"] * named[place] + ["only two grey levels"] * bool(two_tone[place]))
            for place in places
        ),
        advice="Move masks out of the folder: a study takes every image in it for a cell.",
        images=tuple((place,) for place in places),
    )


def _pages(photos: Photos) -> Finding | None:
    places = np.flatnonzero(photos.n_pages > 1).tolist()
    if not places:
        return None
    return Finding(
        kind="pages",
        weight=Weight.CHECK,
        title=f"{count(len(places), 'file')} with several pages",
        details=tuple(f"{photos.title(place)}: {photos.n_pages[place]} pages" for place in places),
        advice="Only the first page is read. Save the others as files of their own if they are cells.",
        images=tuple((place,) for place in places),
    )


def _modes(photos: Photos) -> Finding | None:
    counts = Counter(mode for mode in photos.modes if mode)
    odd = [place for place, mode in enumerate(photos.modes) if mode and mode not in _EVERYDAY]
    if not odd:
        return None
    return Finding(
        kind="modes",
        weight=Weight.CHECK,
        title=f"{count(len(odd), 'image')} not in 8-bit RGB",
        details=tuple(f"{mode}: {count(number, 'image')}" for mode, number in counts.most_common()),
        advice=(
            "They are converted: transparent parts become white, more bits are scaled to 8, grey stays grey. See "
            "whether only some classes have such files."
        ),
        images=tuple((place,) for place in odd),
    )


def _notes(photos: Photos) -> Finding | None:
    several = len(photos.sources) > 1
    lines = [
        f"{name}: {note}" if several else note
        for name, notes in zip(photos.sources, photos.notes, strict=True)
        for note in notes
    ]
    if not lines:
        return None
    return Finding(
        kind="notes",
        weight=Weight.CHECK,
        title=f"{count(len(lines), 'note')} of the reader",
        details=tuple(lines),
    )
