"""The laboratories' images: opened, brought to the classes that all of them have, and pooled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.folder import FolderSource, open_folder
from search.data.imageset import ImageSet
from search.data.reading import Reading
from search.space import Preparation

Integers = NDArray[np.int64]
NOTHING = Preparation()


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Where a laboratory's images are in the pool.

    Attributes:
        start: index of its first image; the others follow.
        counts: images of each shared class, shape (n_classes,).
        left_out: class that other laboratories lack -> its images, which are in no pool.
        fingerprint: of all its images, see `search.data.imageset.ImageSet`.
    """

    name: str
    start: int
    counts: Integers
    left_out: dict[str, int]
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def images(self) -> Integers:
        """Indices of its images in the pool."""
        return np.arange(self.start, self.start + int(self.counts.sum()))


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The images of all laboratories, of the classes that they share.

    Attributes:
        classes: names, sorted; a label is an index into them.
        names: of the images within their laboratory.
        labels: shape (n_images,).
        groups: shape (n_images,); no number occurs in two laboratories. An image of a laboratory without groups
            is a group of its own.
        grouped: names of the laboratories that have groups.
        pixels: uint8, shape (n_images, side, side, 3).
    """

    laboratories: tuple[Laboratory, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: Integers
    groups: Integers
    grouped: tuple[str, ...]
    pixels: NDArray[np.uint8]


def open_laboratories(
    folders: Sequence[Path], class_names: Mapping[str, str], groups: Mapping[str, str]
) -> list[FolderSource]:
    """List the images of all laboratories.

    Args:
        class_names: label -> class, for the laboratories with such a label.
        groups: name of a laboratory -> what groups its images, see `search.data.reading.Reading`.
    Raises:
        InputError: fewer than two folders, one that cannot be used, two of one name, an option that fits none of
            them, or fewer than two classes that all of them have; names the culprit.
    """
    if len(folders) < 2:
        raise InputError(
            f"{folders[0] if folders else 'LABORATORIES'}: give the folders of two or more laboratories"
        )
    names = [folder.resolve().name for folder in folders]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise InputError(
            f"{repeated[0]}: two folders of this name; rename one, because names tell laboratories apart"
        )
    if unknown := sorted(set(groups) - set(names)):
        raise InputError(f"--groups {unknown[0]}=…: no such laboratory; they are {', '.join(names)}")
    renamed = {label.strip().lower(): name for label, name in class_names.items()}
    sources, found = [], set()
    for folder, name in zip(folders, names, strict=True):
        source = open_folder(folder, Reading(groups=groups.get(name)))
        if own := set(source.listing.classes) & set(renamed):
            found |= own
            source = open_folder(folder, Reading(class_names=class_names, groups=groups.get(name)))
        sources.append(source)
    if missing := sorted(set(renamed) - found):
        raise InputError(f"--class-names {missing[0]}=…: no laboratory has the label {missing[0]}")
    _require_shared({source.listing.source: source.listing.classes for source in sources})
    return sources


def pool(
    sources: Sequence[FolderSource], side_px: int, preparation: Preparation = NOTHING, *, skip_bad: bool
) -> Pool:
    """Decode the images of the classes that all laboratories have, each laboratory's prepared by themselves.

    Raises:
        InputError: a damaged image; names it.
    """
    from search.training.prepare import prepare  # with torch, for which bad input need not wait

    sets = [source.decode([side_px], skip_bad=skip_bad) for source in sources]
    classes = _require_shared({images.source: images.classes for images in sets})
    laboratories, parts, start = [], [], 0
    for images in sets:
        part = _restricted(images, classes, prepare(images.pixels[side_px], preparation))
        counts = images.class_counts()
        laboratories.append(
            Laboratory(
                name=images.source,
                start=start,
                counts=np.bincount(part.labels, minlength=len(classes)),
                left_out={
                    name: int(count)
                    for name, count in zip(images.classes, counts, strict=True)
                    if name not in classes
                },
                fingerprint=images.fingerprint,
                notes=images.notes,
            )
        )
        parts.append(part)
        start += len(part.labels)
    groups, first = [], 0
    for part in parts:
        groups.append(part.groups + first)
        first += int(part.groups.max()) + 1
    return Pool(
        laboratories=tuple(laboratories),
        classes=classes,
        names=tuple(name for part in parts for name in part.names),
        labels=np.concatenate([part.labels for part in parts]),
        groups=np.concatenate(groups),
        grouped=tuple(images.source for images in sets if images.groups is not None),
        pixels=np.concatenate([part.pixels for part in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    names: list[str]
    labels: Integers
    groups: Integers
    pixels: NDArray[np.uint8]


def _restricted(images: ImageSet, classes: tuple[str, ...], pixels: NDArray[np.uint8]) -> _Part:
    """The images of the given classes, with labels that are indices into these."""
    new = np.array([classes.index(name) if name in classes else -1 for name in images.classes])
    kept = np.flatnonzero(new[images.labels] >= 0)
    groups = np.arange(len(images.labels)) if images.groups is None else images.groups
    return _Part(
        names=[images.names[index] for index in kept],
        labels=new[images.labels[kept]],
        groups=np.unique(groups[kept], return_inverse=True)[1],
        pixels=pixels[kept],
    )


def _require_shared(classes_of: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The classes that all laboratories have, sorted.

    Raises:
        InputError: fewer than two; names the laboratory that has the least in common with the others.
    """
    shared = set.intersection(*(set(classes) for classes in classes_of.values()))
    if len(shared) >= 2:
        return tuple(sorted(shared))
    in_common = {
        name: sum(bool(set(own) & set(classes)) for other, classes in classes_of.items() if other != name)
        + len(set(own) & {each for other, classes in classes_of.items() if other != name for each in classes})
        for name, own in classes_of.items()
    }
    odd = min(in_common, key=lambda name: in_common[name])
    others = sorted({each for name, classes in classes_of.items() if name != odd for each in classes})
    own = sorted(set(classes_of[odd]) - set(others))
    fitting = ",".join(f"{label}=…" for label in own)
    advice = (
        f"if its labels mean classes of the others ({', '.join(others)}), say so with --class-names {fitting}"
        if own
        else "leave it out"
    )
    raise InputError(
        f"{odd}: its classes ({', '.join(classes_of[odd])}) leave fewer than two that all share; {advice}"
    )
