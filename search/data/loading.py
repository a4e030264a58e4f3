"""Images of a listing, decoded once: one scale for all of them, identical images kept together, a fingerprint."""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.decode import Decoded, Kind, Wide, decode, read_bytes, resize_square
from search.data.imageset import ImageSet, Listing, OnRead, unheard
from search.data.names import count

# An image whose brightest value is a smaller part of the data set's would be nearly black on the common scale.
_DARKEST_SHARE = 1 / 12
# Handing a thread one small image at a time takes as long as decoding it.
AT_ONCE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """What is kept of an image beside its pixels.

    Attributes:
        file, picture: digests of its file and of its pixels.
        wide, oddities: see `search.data.decode.Decoded`.
    """

    file: bytes
    picture: bytes
    wide: Wide | None = None
    oddities: tuple[str, ...] = ()


def decode_listing(
    folder: Path,
    listing: Listing,
    sides_px: Sequence[int],
    *,
    skip_bad: bool = False,
    on_read: OnRead = unheard,
) -> ImageSet:
    """Decode every image of a listing once and scale it to each side.

    Images with more than 8 bits per channel have one full scale for each type of number, so that brightness stays
    comparable. Identical images with one label become a group, or join their groups.

    Args:
        folder: the folder that the listing's names are relative to.
        listing: the images.
        sides_px: sides of the square results.
        skip_bad: leave out bad images, and classes without any other image, instead of raising.
        on_read: called with the number of images read since the last call.
    Returns:
        The images in the listing's order; arrays are read-only.
    Raises:
        InputError: a bad image, which it names: it is damaged, nearly black on the common scale, or identical to
            one with another label or in another given part.
    """
    n_images = len(listing.names)
    pixels = {side: np.zeros((n_images, side, side, 3), np.uint8) for side in sides_px}
    bad: dict[int, str] = {}

    def load(index: int, full: int | None = None) -> Loaded | InputError:
        path = folder / listing.names[index]
        try:
            data = read_bytes(path)
            decoded = decode(path, data, full)
        except InputError as error:
            return error
        for side, array in pixels.items():
            array[index] = resize_square(decoded.rgb, side)
        return _summary(data, decoded)

    def load_some(indices: range) -> list[Loaded | InputError]:
        return [load(index) for index in indices]

    loaded: dict[int, Loaded] = {}
    batches = [range(first, min(first + AT_ONCE, n_images)) for first in range(0, n_images, AT_ONCE)]
    with ThreadPoolExecutor() as pool:  # Pillow releases Python's lock while it decodes
        for indices, results in zip(batches, pool.map(load_some, batches), strict=True):
            for index, result in zip(indices, results, strict=True):
                if isinstance(result, Loaded):
                    loaded[index] = result
                elif skip_bad:
                    bad[index] = str(result)
                else:
                    pool.shutdown(cancel_futures=True)
                    raise InputError(f"{result}; --skip-bad leaves such files out")
            on_read(len(indices))
        scales = _scales(each.wide for each in loaded.values())
        bad |= _too_dark(folder, listing.names, loaded)
        other = [
            i
            for i, each in loaded.items()
            if i not in bad and each.wide and each.wide.full != scales[each.wide.kind]
        ]
        for index, result in zip(
            other, pool.map(load, other, (_full(loaded[i], scales) for i in other)), strict=True
        ):
            assert isinstance(result, Loaded)  # it was read before
            loaded[index] = result
    return image_set(folder, listing, pixels, loaded, bad, skip_bad=skip_bad)


def image_set(
    path: Path,
    listing: Listing,
    pixels: dict[int, NDArray[np.uint8]],
    loaded: Mapping[int, Loaded],
    bad: Mapping[int, str] | None = None,
    *,
    skip_bad: bool = False,
) -> ImageSet:
    """A listing with its pixels, without bad images; identical ones with one label are a group.

    Args:
        path: of the data set, for messages.
        listing: all images.
        pixels: side in px -> uint8 RGB array, shape (n_images, side, side, 3); becomes read-only.
        loaded: index -> what is known of each image that could be read.
        bad: index -> why an image is left out.
        skip_bad: leave bad images out, instead of raising.
    Raises:
        InputError: a bad image, or identical images with two labels or in two given parts.
    """
    bad = dict(bad or {})
    copies = copies_of({index: each.picture for index, each in loaded.items() if index not in bad})
    bad |= contradictions(path, listing, copies)
    if bad and not skip_bad:
        raise InputError(f"{next(iter(bad.values()))}; --skip-bad leaves such files out")
    return _without(listing, pixels, loaded, bad, copies)


def _summary(data: bytes, decoded: Decoded) -> Loaded:
    picture = hashlib.sha256(repr(decoded.rgb.shape).encode())
    picture.update(decoded.rgb.tobytes())
    return Loaded(
        file=hashlib.sha256(data).digest(),
        picture=picture.digest(),
        wide=decoded.wide,
        oddities=decoded.oddities,
    )


def _scales(wide: Iterable[Wide | None]) -> dict[Kind, int]:
    """One full scale for each type of number: that of the brightest image."""
    brightest: dict[Kind, Wide] = {}
    for each in wide:
        if each is not None and (each.kind not in brightest or each.brightest > brightest[each.kind].brightest):
            brightest[each.kind] = each
    return {kind: each.full for kind, each in brightest.items()}


def _full(image: Loaded, scales: Mapping[Kind, int]) -> int:
    assert image.wide is not None  # only such images have a scale
    return scales[image.wide.kind]


def _too_dark(folder: Path, names: Sequence[str], loaded: Mapping[int, Loaded]) -> dict[int, str]:
    """Images that the brightest of their type would make nearly black; they were saved on another scale."""
    found: dict[int, str] = {}
    for kind in ("integer", "float"):
        of_kind = {i: each.wide for i, each in loaded.items() if each.wide is not None and each.wide.kind == kind}
        if not of_kind:
            continue
        first = max(of_kind, key=lambda index: of_kind[index].brightest)
        for index, wide in of_kind.items():
            if wide.brightest < _DARKEST_SHARE * of_kind[first].brightest:
                found[index] = (
                    f"{folder / names[index]}: its brightest value is {wide.brightest:g}, and that of "
                    f"{names[first]} is {of_kind[first].brightest:g}: they were saved on different scales"
                )
    return found


def copies_of(pictures: Mapping[int, bytes]) -> list[list[int]]:
    """Indices of identical images, ascending.

    Args:
        pictures: index -> digest of the pixels.
    """
    same: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, picture in pictures.items():
        same[picture].append(index)
    return [indices for indices in same.values() if len(indices) > 1]


def contradictions(folder: Path, listing: Listing, copies: Sequence[Sequence[int]]) -> dict[int, str]:
    """Identical images that differ in their label, or in the part that the data set gives them: index -> why.

    Args:
        folder: of the data set, for messages.
        copies: sets of indices of identical images.
    """
    found: dict[int, str] = {}
    for indices in copies:
        for what, values in (
            ("label", [listing.classes[listing.labels[index]] for index in indices]),
            ("given part", None if listing.parts is None else [listing.parts[index] for index in indices]),
        ):
            if values is None or len(set(values)) == 1:
                continue
            other = next(k for k, value in enumerate(values) if value != values[0])
            reason = (
                f"{folder / listing.names[indices[0]]}: the same picture as {listing.names[indices[other]]}, with "
                f"another {what}: {values[0]} and {values[other]}"
            )
            found |= dict.fromkeys(indices, reason)
    return found


def _without(
    listing: Listing,
    pixels: dict[int, NDArray[np.uint8]],
    loaded: Mapping[int, Loaded],
    bad: Mapping[int, str],
    copies: Sequence[Sequence[int]],
) -> ImageSet:
    kept = np.setdiff1d(np.arange(len(listing.names)), list(bad))
    if bad:  # indexing copies the arrays
        pixels = {side: array[kept] for side, array in pixels.items()}
    groups, notes = listing.groups, _oddities(listing.names, loaded)
    together = [indices for indices in copies if not set(indices) & set(bad)]
    if together:
        groups = joined(len(listing.names), groups, together)
        ncopies_of = sum(len(indices) - 1 for indices in together)
        first, second = (listing.names[index] for index in together[0][:2])
        notes.append(
            f"{count(ncopies_of, 'image')} identical to another, such as {second} to {first}: kept on one side "
            "of every split"
        )
    bare = listing.only(kept, groups=groups, notes=(*listing.notes, *notes, *_left_out(bad)))
    for array in (bare.labels, bare.groups, *pixels.values()):
        if array is not None:
            array.flags.writeable = False
    return ImageSet(**vars(bare), pixels=pixels, fingerprint=_fingerprint(bare, [loaded[i].file for i in kept]))


def joined(
    n_images: int, groups: NDArray[np.int64] | None, together: Iterable[Sequence[int]]
) -> NDArray[np.int64]:
    """Groups in which some images also belong together, numbered from 0.

    Args:
        groups: shape (n_images,); None: every image is its own.
        together: sets of image indices.
    Returns:
        int64, shape (n_images,).
    """
    links = [(indices[0], index) for indices in together for index in indices[1:]]
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        links += zip(first[group].tolist(), range(n_images), strict=True)
    return linked(n_images, np.array(links, dtype=np.int64).reshape(-1, 2))


def linked(n_images: int, links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number images so that those that are linked, directly or through others, share a number.

    Args:
        links: indices of the two images of each link, shape (n_links, 2).
    Returns:
        int64, shape (n_images,), from 0 in order of each number's first image.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n_images, n_images))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _oddities(names: Sequence[str], loaded: Mapping[int, Loaded]) -> list[str]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for index, image in loaded.items():
        for oddity in image.oddities:
            found[oddity].append(names[index])
    return [f"{count(len(having), 'image')} such as {having[0]} with {oddity}" for oddity, having in found.items()]


def _left_out(bad: Mapping[int, str]) -> list[str]:
    return [f"left out: {reason}" for reason in dict.fromkeys(bad.values())]


def _fingerprint(listing: Listing, digests: Sequence[bytes]) -> str:
    total = hashlib.sha256()
    groups = [None] * len(digests) if listing.groups is None else listing.groups.tolist()
    for name, label, group, digest in zip(listing.names, listing.labels.tolist(), groups, digests, strict=True):
        # repr quotes the texts, so that no two different rows give the same bytes.
        total.update(repr((name, listing.classes[label], group)).encode())
        total.update(digest)
    for given in (listing.parts, listing.fold_names):
        if given is not None:
            total.update(repr(given).encode())
    return total.hexdigest()
