"""Near-identical images: a perceptual hash proposes pairs, correlation of the aligned pictures decides.

A cell that is photographed twice is shifted by some pixels, and whoever augments data turns or mirrors it. So each
thumbnail is first centred on its cell. The perceptual hashes (pHash of 144 bits, from imagehash) of the centred
patches, and of their turns and mirror images, are compared for all pairs; where they are close, the correlation of
fine detail at the best shift decides. `docs/audit.md` says how the two limits were chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from search.audit.measures import BLACK

Grey = NDArray[np.uint8]

# Of 144 bits, as many may differ in a pair that is worth a second look.
MOST_BITS = 34
LEAST_CORRELATION = 0.94
_HASH_SIDE = 12
_PATCH_PX, _CORE_PX, _MARGIN_PX = 48, 40, 16
# Cells are dark discs, and any two discs correlate: only what is finer is compared. The finest detail changes with
# focus and with shifts by a part of a pixel.
_COARSEST_PX, _FINEST_PX = 4.0, 1.5
_WINDOW_PX, _CENTRINGS = 10.0, 20
_LEAST_CONTRAST = 8
_ROWS_AT_ONCE, _PAIRS_AT_ONCE, _IMAGES_AT_ONCE = 2048, 128, 1024
# Quarter turns, and whether mirrored before; the first is the picture itself.
_TURNS = [(quarters, mirrored) for mirrored in (False, True) for quarters in range(4)]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images of the same cell: their places, `first` < `second`, and their correlation, at most 1."""

    first: int
    second: int
    correlation: float


def near_identical(thumbnails: Grey, *, turned: bool = True) -> list[Pair]:
    """Find all pairs of images that show the same cell.

    Args:
        thumbnails: grey levels, uint8, shape (n_images, 64, 64).
        turned: find quarter turns and mirror images too, which takes eight times as long.
    Returns:
        The pairs in order. Shifts are found, turns by less than a quarter are not. Images without contrast are in
        no pair.
    """
    contrast = np.ptp(thumbnails.astype(np.int16), axis=(1, 2))
    usable = np.flatnonzero(contrast >= _LEAST_CONTRAST)
    patches = _centred(thumbnails[usable])
    upright = _hashes(patches)
    best: dict[tuple[int, int], float] = {}
    for quarters, mirrored in _TURNS if turned else _TURNS[:1]:
        others = np.rot90(patches[:, :, ::-1] if mirrored else patches, quarters, axes=(1, 2))
        for close in _close_pairs(upright, _hashes(others)):
            values = _correlations(patches[close[:, 0]], others[close[:, 1]])
            for (first, second), value in zip(usable[close].tolist(), values.tolist(), strict=True):
                if value >= LEAST_CORRELATION:
                    best[first, second] = max(value, best.get((first, second), value))
    return [Pair(first=first, second=second, correlation=best[first, second]) for first, second in sorted(best)]


def _centred(thumbnails: Grey) -> Grey:
    """A patch around each cell, shape (n_images, 48, 48)."""
    patches = np.empty((len(thumbnails), _PATCH_PX, _PATCH_PX), np.uint8)
    for start in range(0, len(thumbnails), _IMAGES_AT_ONCE):
        block = thumbnails[start : start + _IMAGES_AT_ONCE]
        corners = np.rint(_centres(block) - (_PATCH_PX - 1) / 2).astype(int) + _MARGIN_PX
        corners = corners.clip(0, thumbnails.shape[1] + 2 * _MARGIN_PX - _PATCH_PX)
        margin = (_MARGIN_PX, _MARGIN_PX)
        wide = np.pad(block, ((0, 0), margin, margin), "reflect")  # so that a cell near the edge is centred too
        windows = np.lib.stride_tricks.sliding_window_view(wide, (_PATCH_PX, _PATCH_PX), axis=(1, 2))
        patches[start : start + len(block)] = windows[np.arange(len(block)), corners[:, 0], corners[:, 1]]
    return patches


def _centres(thumbnails: Grey) -> NDArray[np.float32]:
    """Row and column of each cell: the mean shift of what is stained, from the middle on; shape (n_images, 2)."""
    side = thumbnails.shape[1]
    density = -np.log((thumbnails + np.float32(8)) / 263)
    density -= np.quantile(density, 0.3, axis=(1, 2), keepdims=True).astype(np.float32)
    weight = density.clip(0, 1.2) ** 2
    weight[thumbnails < BLACK] = 0  # padding would outweigh the cell
    place = np.arange(side, dtype=np.float32)
    centres = np.full((len(thumbnails), 2), (side - 1) / 2, np.float32)
    for _ in range(_CENTRINGS):
        near = np.exp(-((place - centres[:, :, None]) ** 2) / (2 * _WINDOW_PX**2))
        by_row = np.einsum("nyx,nx->ny", weight, near[:, 1]) * near[:, 0]
        by_column = np.einsum("nyx,ny->nx", weight, near[:, 0]) * near[:, 1]
        total = np.maximum(by_row.sum(1), 1e-6)
        centres = np.stack([by_row @ place, by_column @ place], axis=1) / total[:, None]
    return centres


def _hashes(patches: Grey) -> NDArray[np.float32]:
    """One perceptual hash per patch: bits as -1 and 1, shape (n_images, 144)."""
    bits = np.empty((len(patches), _HASH_SIDE**2), np.float32)
    for row, patch in zip(bits, patches, strict=True):
        image = Image.fromarray(np.ascontiguousarray(patch))
        row[:] = imagehash.phash(image, hash_size=_HASH_SIDE, highfreq_factor=2).hash.ravel()
    return 2 * bits - 1


def _close_pairs(hashes: NDArray[np.float32], others: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Pairs of places, first < second, whose hashes differ in few bits; each shape (n_pairs, 2), not empty."""
    least = hashes.shape[1] - 2 * MOST_BITS
    for top in range(0, len(hashes), _ROWS_AT_ONCE):
        for left in range(top, len(hashes), _ROWS_AT_ONCE):
            agreement = hashes[top : top + _ROWS_AT_ONCE] @ others[left : left + _ROWS_AT_ONCE].T
            pairs = np.argwhere(agreement >= least) + np.array([top, left])
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            for start in range(0, len(pairs), _PAIRS_AT_ONCE):
                yield pairs[start : start + _PAIRS_AT_ONCE]


def _correlations(patches: Grey, others: Grey) -> NDArray[np.float32]:
    """Normalised correlation of each patch's core with the other patch at the best shift, shape (n_pairs,)."""
    edge = (_PATCH_PX - _CORE_PX) // 2
    core = _detail(patches)[:, edge:-edge, edge:-edge]
    core = core - core.mean(axis=(1, 2), keepdims=True)
    other = _detail(others)
    windows = np.lib.stride_tricks.sliding_window_view(other, (_CORE_PX, _CORE_PX), axis=(1, 2))
    products = np.einsum("nyxij,nij->nyx", windows, core, optimize=True)
    spread = np.einsum("nyxij,nyxij->nyx", windows, windows) - windows.mean(axis=(3, 4)) ** 2 * _CORE_PX**2
    norms = np.sqrt(np.maximum(spread, 1e-6) * np.maximum((core**2).sum(axis=(1, 2)), 1e-6)[:, None, None])
    best: NDArray[np.float32] = (products / norms).max(axis=(1, 2))
    return best


def _detail(patches: Grey) -> NDArray[np.float32]:
    levels = patches.astype(np.float32)
    fine, coarse = (ndimage.gaussian_filter(levels, (0, px, px)) for px in (_FINEST_PX, _COARSEST_PX))
    return fine - coarse
