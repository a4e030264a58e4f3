"""Synthetic blood smears: drawn images to try a whole study on, without a download.

Every image is painted on one warped pixel grid, back to front: red cells, cytoplasm, nucleus, granules.
Layers are transmittances, so the strength of the stain is an exponent, and light and white balance are factors,
as in a microscope. The classes overlap where real ones do: band neutrophils and monocytes, pale
eosinophils and two-lobed neutrophils, large lymphocytes and small monocytes, basophils with few granules.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from search.data.imageset import ImageSet, Listing, OnRead, unheard

BASE_SIDE_PX = 72
NOTE = "synthetic: drawn cells demonstrate the method; they are no evidence about blood cells"

Field = NDArray[np.float32]
"""Values per pixel: shape (side, side), with a leading 2 for x and y or a trailing 3 for RGB."""
Range = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class CellType:
    """The looks of one class of cells; every pair of numbers is the range of a uniform draw.

    Attributes:
        radius_px: radius of the cell, in an image of BASE_SIDE_PX.
        lobes: numbers of nuclear lobes, equally likely.
        arc_rad: angle through which the nucleus bends.
        spine: radius of that bend, in cell radii.
        lobe: radius of the widest lobe, in cell radii.
        waist: radius between lobes, in lobe radii.
        cytoplasm, granule: transmittance of red, green and blue.
        granules: number of granules per pixel of the cell.
        opacity: opacity of a granule, 0..1.
        over_nucleus: opacity of granules over the nucleus, 0..1.
    """

    radius_px: Range
    lobes: tuple[int, ...]
    arc_rad: Range
    spine: Range
    lobe: Range
    waist: Range
    cytoplasm: Colour
    granule: Colour
    granules: Range
    opacity: Range
    over_nucleus: Range


# fmt: off
CELL_TYPES = {
    "basophil": CellType(
        radius_px=(14, 18), cytoplasm=(0.72, 0.50, 0.80),
        lobes=(1, 2, 3), arc_rad=(1.5, 4.0), spine=(0.30, 0.50), lobe=(0.36, 0.50), waist=(0.5, 0.9),
        granule=(0.30, 0.13, 0.52), granules=(0.10, 0.30), opacity=(0.7, 1.0), over_nucleus=(0.5, 1.0),
    ),
    "eosinophil": CellType(
        radius_px=(15, 20), cytoplasm=(0.90, 0.70, 0.76),
        lobes=(2, 2, 2, 3), arc_rad=(2.4, 3.8), spine=(0.42, 0.56), lobe=(0.33, 0.42), waist=(0.2, 0.6),
        granule=(0.84, 0.45, 0.46), granules=(0.12, 0.35), opacity=(0.4, 1.0), over_nucleus=(0.0, 0.3),
    ),
    "lymphocyte": CellType(
        radius_px=(11, 16), cytoplasm=(0.62, 0.68, 0.96),
        lobes=(1,), arc_rad=(0.5, 2.2), spine=(0.05, 0.30), lobe=(0.62, 0.84), waist=(0.9, 1.0),
        granule=(0.60, 0.35, 0.75), granules=(0.00, 0.02), opacity=(0.3, 0.8), over_nucleus=(0.0, 0.3),
    ),
    "monocyte": CellType(
        radius_px=(16, 24), cytoplasm=(0.66, 0.64, 0.86),
        lobes=(1,), arc_rad=(1.4, 4.2), spine=(0.22, 0.45), lobe=(0.36, 0.58), waist=(0.8, 1.0),
        granule=(0.70, 0.50, 0.80), granules=(0.00, 0.10), opacity=(0.2, 0.6), over_nucleus=(0.0, 0.3),
    ),
    "neutrophil": CellType(
        radius_px=(14, 20), cytoplasm=(0.87, 0.77, 0.90),
        lobes=(1, 2, 3, 3, 4, 5), arc_rad=(3.2, 5.6), spine=(0.42, 0.60), lobe=(0.23, 0.34), waist=(0.2, 0.8),
        granule=(0.75, 0.50, 0.68), granules=(0.05, 0.25), opacity=(0.1, 0.5), over_nucleus=(0.0, 0.2),
    ),
}
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """One laboratory: its stain, light and magnification, and its number of cells per class.

    Attributes:
        code: part of the seed of every image.
        source: name of the data set.
        counts: images per class, in the order of CELL_TYPES.
        zoom: magnification relative to `radius_px`.
        stain: exponents of the white cell's transmittance.
        tint: factors on those exponents for red, green and blue.
        nucleus, red_cell: transmittance of red, green and blue.
        background: colour of the empty field, 0..1.
        balance: standard deviation of the white balance of each channel.
        blur_px: standard deviation of the blur.
    """

    code: int
    source: str
    counts: tuple[int, ...]
    zoom: Range
    stain: Range
    tint: Colour
    nucleus: Colour
    red_cell: Colour
    background: Colour
    balance: float
    blur_px: Range


# fmt: off
MICROSCOPES = {
    "first": Microscope(
        code=1, source="synthetic", counts=(13, 18, 107, 30, 232), zoom=(1.1, 1.3),
        stain=(0.8, 1.15), tint=(1.0, 1.0, 1.0), nucleus=(0.34, 0.18, 0.62), red_cell=(0.80, 0.70, 0.80),
        background=(0.98, 0.90, 0.81), balance=0.012, blur_px=(0.4, 1.0),
    ),
    "second": Microscope(
        code=2, source="synthetic-2", counts=(48, 42, 54, 50, 56), zoom=(1.25, 1.55),
        stain=(0.5, 0.95), tint=(0.75, 1.1, 0.8), nucleus=(0.40, 0.20, 0.66), red_cell=(0.74, 0.76, 0.84),
        background=(0.94, 0.94, 0.97), balance=0.03, blur_px=(0.4, 1.5),
    ),
}
# fmt: on


class SyntheticSource:
    """Drawn cells of five classes; nothing is read from disk.

    Args:
        seed: at least 0. Image i depends only on seed, microscope and i.
        microscope: "first" has 400 cells, as unequally distributed as in blood. "second" has 250 cells, more
            evenly distributed, in another stain and magnification; it is the target data set of a transfer.
    """

    def __init__(self, seed: int, microscope: Literal["first", "second"]) -> None:
        self._seed = seed
        self._microscope = MICROSCOPES[microscope]
        counts = self._microscope.counts
        labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        labels.setflags(write=False)
        self._listing = Listing(
            source=self._microscope.source,
            classes=tuple(CELL_TYPES),
            names=tuple(f"{c}/{k + 1:04d}.png" for c, n in zip(CELL_TYPES, counts, strict=True) for k in range(n)),
            labels=labels,
            notes=(NOTE,),
        )

    @property
    def listing(self) -> Listing:
        """Names and labels, known without drawing."""
        return self._listing

    def decode(self, sides_px: Sequence[int], *, skip_bad: bool = False, on_read: OnRead = unheard) -> ImageSet:
        """Draw every image once and scale it to each side; there are no damaged images to skip."""
        listing = self._listing
        drawn = np.stack([self._draw(i) for i in range(len(listing.names))])
        on_read(len(listing.names))
        digest = hashlib.sha256(drawn.tobytes())
        digest.update(repr((listing.classes, listing.names, listing.labels.tolist())).encode())
        pixels = {side: _scaled(drawn, side) for side in sides_px}
        return ImageSet(**vars(listing), pixels=pixels, fingerprint=digest.hexdigest())

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """Draw one image of the listing."""
        return self._draw(self._listing.names.index(name))

    def _draw(self, index: int) -> NDArray[np.uint8]:
        scope, cell_type = self._microscope, list(CELL_TYPES.values())[self._listing.labels[index]]
        return draw_cell(np.random.default_rng([self._seed, scope.code, index]), cell_type, scope)


def draw_cell(rng: np.random.Generator, cell_type: CellType, scope: Microscope) -> NDArray[np.uint8]:
    """Draw one white cell among red cells: uint8 RGB, shape (BASE_SIDE_PX, BASE_SIDE_PX, 3)."""
    zoom = rng.uniform(*scope.zoom)
    radius = zoom * rng.uniform(*cell_type.radius_px)
    centre = rng.normal(0, 2.0, size=2)
    grid = _warped_grid(rng)
    smear = np.asarray(scope.red_cell, np.float32) ** _red_cells(rng, grid, centre, radius, zoom)[..., None]
    grid -= centre.astype(np.float32)[:, None, None]
    _paint_white_cell(smear, rng, grid, cell_type, scope, radius)
    return _photograph(rng, smear, scope)


def _warped_grid(rng: np.random.Generator) -> Field:
    """Pixel coordinates from the image's centre, shape (2, side, side), warped so that discs become uneven."""
    axis = np.arange(BASE_SIDE_PX, dtype=np.float32) - (BASE_SIDE_PX - 1) / 2
    warp = [_cloud(rng, scale_px=5.0) * rng.uniform(0.4, 1.3) for _ in range(2)]
    return np.stack(np.meshgrid(axis, axis)) + np.stack(warp)


def _cloud(rng: np.random.Generator, scale_px: float) -> Field:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.standard_normal((BASE_SIDE_PX, BASE_SIDE_PX), np.float32), scale_px)
    return (noise - noise.mean()) / noise.std()


def _inside(distance_px: Field) -> Field:
    """Coverage 0..1 from the signed distance to an edge, which is about a pixel wide."""
    return np.clip(0.5 - distance_px / 1.4, 0, 1)


def _paint(smear: Field, coverage: Field, colour: Colour, stain: NDArray[np.floating]) -> None:
    """Paint a colour over the smear, in place; `stain` is the exponent of its transmittance."""
    smear += coverage[..., None] * (np.asarray(colour) ** stain - smear).astype(np.float32)


def _red_cells(
    rng: np.random.Generator, grid: Field, centre: NDArray[np.float64], radius: float, zoom: float
) -> Field:
    """Density of red cells, discs with a pale centre, around the white cell."""
    density = np.zeros_like(grid[0])
    for _ in range(rng.integers(4, 14)):
        size = 9.0 * zoom * rng.uniform(0.8, 1.1)
        place = rng.uniform(-BASE_SIDE_PX / 2 - 4, BASE_SIDE_PX / 2 + 4, size=2)
        gap = float(np.hypot(*(place - centre)))
        # White cells push red cells aside: a red cell under the white one moves out to its edge.
        place = centre + (place - centre) / gap * max(gap, radius + size * rng.uniform(0.6, 1.1))
        tilt = rng.uniform(0.85, 1.2)
        x, y = grid - place.astype(np.float32)[:, None, None]
        distance_px = np.hypot(x * tilt, y / tilt)
        pallor = rng.uniform(0.1, 0.9) * np.exp(-((distance_px / (0.42 * size)) ** 2))
        disc = _inside(distance_px - size) * (1 - pallor) * rng.uniform(0.7, 1.3)
        # Overlaps are darker, but not twice as dark: thin cells bend around each other.
        density = np.maximum(density, disc) + 0.4 * np.minimum(density, disc)
    return density


def _paint_white_cell(
    smear: Field, rng: np.random.Generator, grid: Field, cell_type: CellType, scope: Microscope, radius: float
) -> None:
    stain = rng.uniform(*scope.stain) * np.asarray(scope.tint) * rng.normal(1, 0.05, size=3)
    tilt = rng.uniform(0.88, 1.14)
    cell = _inside(np.hypot(grid[0] * tilt, grid[1] / tilt) - radius)
    nucleus = _nucleus(rng, grid, cell_type, radius) * cell
    patchy = rng.uniform(0.6, 1.3) * (1 + 0.10 * _cloud(rng, 1.5))[..., None]
    chromatin = rng.uniform(0.75, 1.1) * (1 + rng.uniform(0.05, 0.2) * _cloud(rng, 1.0))[..., None]
    granules = _granules(rng, cell, cell_type) * (1 - nucleus * (1 - rng.uniform(*cell_type.over_nucleus)))
    _paint(smear, cell, cell_type.cytoplasm, stain * patchy)
    _paint(smear, nucleus, scope.nucleus, stain * chromatin)
    _paint(smear, granules, cell_type.granule, stain)


def _nucleus(rng: np.random.Generator, grid: Field, cell_type: CellType, radius: float) -> Field:
    """Coverage of a nucleus: discs along an arc, wide in the lobes and narrow between them."""
    n_lobes = int(rng.choice(cell_type.lobes))
    along = np.linspace(0, 1, 6 * n_lobes + 5)
    lobe = radius * rng.uniform(*cell_type.lobe)
    waist = lobe * rng.uniform(*cell_type.waist)
    angle = rng.uniform(0, 2 * np.pi) + along * rng.uniform(*cell_type.arc_rad)
    spine = radius * rng.uniform(*cell_type.spine) * np.stack([np.cos(angle), np.sin(angle)])
    # Lobes of uneven sizes and positions: real nuclei are not neat rings.
    knots = np.linspace(0, 1, n_lobes + 2)
    spine += [np.interp(along, knots, rng.normal(0, 0.11 * radius, knots.size)) for _ in range(2)]
    spine -= spine.mean(axis=1, keepdims=True) * rng.uniform(0.5, 1)
    size = np.interp(along, knots, rng.uniform(0.85, 1.1, knots.size))
    size *= waist + (lobe - waist) * np.sin(np.pi * n_lobes * along) ** 2
    x, y = (grid[k][None] - spine[k, :, None, None].astype(np.float32) for k in range(2))
    return _inside((np.hypot(x, y) - size[:, None, None].astype(np.float32)).min(axis=0))


def _granules(rng: np.random.Generator, cell: Field, cell_type: CellType) -> Field:
    """Coverage of round granules about a pixel wide, anywhere in the cell."""
    seeds = rng.random(cell.shape, np.float32) < rng.uniform(*cell_type.granules)
    grains = gaussian_filter(seeds.astype(np.float32), rng.uniform(0.6, 0.9))
    return np.clip(4 * grains, 0, 1) * cell * rng.uniform(*cell_type.opacity)


def _photograph(rng: np.random.Generator, smear: Field, scope: Microscope) -> NDArray[np.uint8]:
    """Add blur, uneven light, white balance and sensor noise."""
    blur_px = rng.uniform(*scope.blur_px)
    photo = gaussian_filter(smear, (blur_px, blur_px, 0))
    photo *= np.asarray(scope.background) * rng.uniform(0.92, 1.05) * rng.normal(1, scope.balance, size=3)
    slope = rng.normal(0, 0.025, size=2)
    ramp = np.linspace(-1, 1, BASE_SIDE_PX)
    photo *= (1 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :])[..., None]
    photo += rng.uniform(0.004, 0.02) * rng.standard_normal(photo.shape, np.float32)
    return (255 * np.clip(photo, 0, 1)).round().astype(np.uint8)


def _scaled(drawn: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    size = (side_px, side_px)
    scaled = np.stack(
        [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in drawn]
    )
    scaled.setflags(write=False)
    return scaled
