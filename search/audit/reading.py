"""What an audit reads: every image of every data set, measured at its full size."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from search.audit.measures import Measures, measure
from search.audit.photos import NUMBERS, Photos
from search.common.errors import InputError
from search.data.folder import FolderSource
from search.data.imageset import OnRead, Source, unheard

_BITS_PER_SAMPLE = 258  # tag of a TIFF


@dataclass(frozen=True, kw_only=True)
class _Read:
    measures: Measures
    size_px: tuple[int, int]
    mode: str
    n_pages: int
    file_digest: bytes
    pixel_digest: bytes


def read_photos(sources: Sequence[Source], names: Sequence[str], *, on_read: OnRead = unheard) -> Photos:
    """Read and measure every image.

    Args:
        sources: the data sets.
        names: their names, all different.
        on_read: called with 1 after each image, from this thread.
    Returns:
        The images of all data sets, one data set after the other. Damaged images are there, with their problem.
    """
    tasks = [(source, name) for source in sources for name in source.listing.names]
    pool = ThreadPoolExecutor()  # Pillow releases Python's lock while it decodes
    results: list[_Read | str] = []
    try:
        for result in pool.map(lambda task: _read(*task), tasks):
            results.append(result)
            on_read(1)
    finally:
        pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all images
    return _gathered(sources, names, results)


def _read(source: Source, name: str) -> _Read | str:
    """One image; if it is damaged, why."""
    try:
        rgb = source.photograph(name)
    except InputError as error:
        return str(error)
    pixel_digest = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).digest()
    mode, n_pages, file_digest = "RGB", 1, pixel_digest  # an image that is not a file is its pixels
    if isinstance(source, FolderSource):
        path = source.folder / name
        mode, n_pages = _header(path)
        file_digest = hashlib.sha256(path.read_bytes()).digest()
    height_px, width_px = rgb.shape[:2]
    return _Read(
        measures=measure(rgb),
        size_px=(width_px, height_px),
        mode=mode,
        n_pages=n_pages,
        file_digest=file_digest,
        pixel_digest=pixel_digest,
    )


def _header(path: Path) -> tuple[str, int]:
    """Pillow's mode, with the bits where they are more than 8, and the number of pages of a readable file."""
    try:
        with Image.open(path) as image:
            bits = max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,)))
            return image.mode + (f";{bits}" if bits > 8 else ""), getattr(image, "n_frames", 1)
    except UnidentifiedImageError:  # a TIFF that only tifffile reads
        import tifffile

        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return f"{page.samplesperpixel} x {page.dtype}", len(file.pages)


def _gathered(sources: Sequence[Source], names: Sequence[str], results: Sequence[_Read | str]) -> Photos:
    listings = [source.listing for source in sources]
    counts = [len(listing.names) for listing in listings]
    classes = sorted({name for listing in listings for name in listing.classes})
    labels = [np.array([classes.index(name) for name in each.classes])[each.labels] for each in listings]
    starts = np.cumsum([0, *counts[:-1]])
    # A group's number is the place of its first image: no two data sets share one.
    groups = [
        start + (np.arange(count) if each.groups is None else _first_places(each.groups))
        for each, count, start in zip(listings, counts, starts, strict=True)
    ]
    blank = measure(np.zeros((1, 1, 3), np.uint8))
    good = [result if isinstance(result, _Read) else None for result in results]
    return Photos(
        sources=tuple(names),
        classes=tuple(classes),
        source=np.repeat(np.arange(len(listings)), counts),
        names=tuple(name for listing in listings for name in listing.names),
        labels=np.concatenate(labels).astype(np.int64),
        groups=np.concatenate(groups).astype(np.int64),
        has_groups=tuple(listing.groups is not None for listing in listings),
        parts=tuple(part for listing in listings for part in (listing.parts or [""] * len(listing.names))),
        problems=tuple(result if isinstance(result, str) else "" for result in results),
        size_px=np.array([(0, 0) if each is None else each.size_px for each in good], np.int64),
        modes=tuple("" if each is None else each.mode for each in good),
        n_pages=np.array([0 if each is None else each.n_pages for each in good], np.int64),
        file_digests=tuple(b"" if each is None else each.file_digest for each in good),
        pixel_digests=tuple(b"" if each is None else each.pixel_digest for each in good),
        numbers={
            name: np.array([np.nan if each is None else getattr(each.measures, name) for each in good])
            for name in NUMBERS
        },
        thumbnails=np.stack([(blank if each is None else each.measures).thumbnail for each in good]),
        rings=np.stack([(blank if each is None else each.measures).ring for each in good]),
        notes=tuple(listing.notes for listing in listings),
    )


def _first_places(groups: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]
