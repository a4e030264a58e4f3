"""The nucleus and the cytoplasm of the cell in the centre of an image.

Colours are first divided by those of the background, so that unstained glass is white. The optical density of
red cells then has a fixed ratio of green to blue, that of haemoglobin; the dyes of May-Grünwald-Giemsa and related
stains absorb less blue, which sets white cells apart however pale they are.

Sources: Otsu, "A Threshold Selection Method from Gray-Level Histograms"; Liao et al., "A Fast Algorithm for
Multilevel Thresholding"; Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution".
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed, rgb2hsv, rgb2lab
from skimage.filters import gaussian, threshold_multiotsu
from skimage.measure import label
from skimage.morphology import disk, h_maxima, opening, remove_small_holes, remove_small_objects
from skimage.segmentation import watershed
from sklearn.cluster import KMeans

from wbcmodels.traditional.choices import Segmentation, StainSpace

BACKGROUND_PERCENTILE = 90
CLASSES = 3  # of colours: the background, red cells and cytoplasm, nuclei

# Measured around the nuclei of 120 neutrophils and at the borders of their images, by a CellaVision DM96: at this
# ratio, 94 % of the pixels of red cells and 6 % of those of cytoplasm lie below this density.
HAEMOGLOBIN_GREEN_PER_BLUE = 1.7
STAINED_DENSITY = 0.025
DARKEST = 0.02  # so that black has a density

NECK = 24  # of a side: how much deeper than their neck two touching cells are


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Where the parts of the cell are: boolean (side, side), disjoint, both empty where no cell is found."""

    nucleus: np.ndarray
    cytoplasm: np.ndarray

    @property
    def cell(self) -> np.ndarray:
        """Nucleus and cytoplasm together."""
        return self.nucleus | self.cytoplasm


def segment(image: np.ndarray, *, stain_space: StainSpace, segmentation: Segmentation) -> Masks:
    """Segment an image (side, side, 3), uint8.

    The nucleus is what its stain marks within the cell, in as many pieces as it has lobes. An image of one colour
    has no cell.
    """
    side = len(image)
    balanced = gaussian(white_balanced(image), sigma=side / 128, channel_axis=-1)
    stains = _stains(balanced, stain_space).round(6)  # so that equal colours have equal stains
    nuclei = _clusters_top(stains) if segmentation == "kmeans" else _otsu_top(stains[..., 0])
    nuclei = _tidied(nuclei, radius=side // 48)
    cell = _central(_cells(balanced, nuclei))
    nucleus = nuclei & cell
    return Masks(nucleus=nucleus, cytoplasm=cell & ~nucleus)


def white_balanced(image: np.ndarray) -> np.ndarray:
    """Divide an image (side, side, 3), uint8, by its background colour; values from 0 to 1."""
    background = np.percentile(image, BACKGROUND_PERCENTILE, axis=(0, 1))
    return np.minimum(image / np.maximum(background, 1), 1)


def _stains(balanced: np.ndarray, space: StainSpace) -> np.ndarray:
    """Colour coordinates (side, side, channels); the first one is highest in nuclei."""
    if space == "hed":
        return rgb2hed(balanced)
    if space == "lab":
        lightness, a, b = np.moveaxis(rgb2lab(balanced), -1, 0)
        return np.stack([-lightness, a, b], axis=-1)
    saturation, red = rgb2hsv(balanced)[..., 1], balanced[..., 0]
    return np.stack([saturation - red, saturation, red], axis=-1)


def _otsu_top(values: np.ndarray) -> np.ndarray:
    """Whether each value is above the highest threshold; of too few values for that, above their middle."""
    try:
        threshold = threshold_multiotsu(values, classes=CLASSES)[-1]
    except ValueError:
        threshold = (values.min() + values.max()) / 2
    return values > threshold


def _clusters_top(stains: np.ndarray) -> np.ndarray:
    """Whether each pixel is in the k-means cluster with the highest first coordinate; Otsu's for few colours."""
    pixels = stains.reshape(-1, stains.shape[-1])
    levels = np.linspace(pixels[:, 0].min(), pixels[:, 0].max(), CLASSES)
    starts = pixels[np.abs(pixels[:, :1] - levels).argmin(axis=0)]
    if len(np.unique(starts, axis=0)) < CLASSES:
        return _otsu_top(stains[..., 0])
    kmeans = KMeans(CLASSES, init=starts, n_init=1).fit(pixels)
    return (kmeans.labels_ == kmeans.cluster_centers_[:, 0].argmax()).reshape(stains.shape[:2])


def _cells(balanced: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """All white cells: nuclei, and what absorbs more green than haemoglobin does at the same blue."""
    side = len(nuclei)
    density = -np.log(np.maximum(gaussian(balanced, sigma=side / 96, channel_axis=-1), DARKEST))
    stained = density[..., 1] - HAEMOGLOBIN_GREEN_PER_BLUE * density[..., 2] > STAINED_DENSITY
    return _tidied(nuclei | stained, radius=side // 32)


def _tidied(mask: np.ndarray, *, radius: int) -> np.ndarray:
    """Without threads, specks and holes."""
    size = (len(mask) // 12) ** 2
    smooth = opening(mask, disk(max(1, radius)))
    return remove_small_holes(remove_small_objects(smooth, max_size=size), max_size=size)


def _central(cells: np.ndarray) -> np.ndarray:
    """The cell nearest to the centre of the image; touching cells part where they are narrow."""
    side = len(cells)
    depth = depth_in(cells)
    parts = watershed(-depth, label(h_maxima(depth, side / NECK)), mask=cells)
    if not parts.any():
        return np.zeros_like(cells)
    return parts == parts.flat[np.where(parts > 0, _from_centre(side), np.inf).argmin()]


def depth_in(mask: np.ndarray) -> np.ndarray:
    """Smoothed distance of each pixel (side, side) of the mask from its edge, or that of the image."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return gaussian(depth, sigma=len(mask) / 64)


def _from_centre(side: int) -> np.ndarray:
    """Distance of each pixel (side, side) from the centre."""
    offsets = np.arange(side) - (side - 1) / 2
    return np.hypot(offsets[:, None], offsets)
