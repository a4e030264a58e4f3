"""The nucleus and the cytoplasm of the cell in the centre of an image.

Colours are first divided by those of the background, so that unstained glass is white. The optical density of red
cells then has a fixed ratio of green to blue, that of haemoglobin; the dyes of May-Grünwald-Giemsa and related stains
absorb less blue, which sets white cells apart however pale they are.

Sources: Otsu, "A Threshold Selection Method from Gray-Level Histograms"; Liao et al., "A Fast Algorithm for
Multilevel Thresholding"; Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution".
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed, rgb2hsv, rgb2lab
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_multiotsu
from skimage.morphology import disk, opening, remove_small_holes, remove_small_objects
from skimage.segmentation import watershed
from sklearn.cluster import KMeans

from wbcmodels.traditional.config import Segmentation, StainSpace

BACKGROUND_PERCENTILE = 90
CLASSES = 3  # background and red cells, cytoplasm, nucleus; or background, red cells, the white cell
CLUSTERS = 4

# Measured on 120 neutrophils with red cells around them, in images of a CellaVision DM96: of red cells 95 % lie below
# this density at this ratio, of cytoplasm 5 %.
HAEMOGLOBIN_GREEN_PER_BLUE = 1.7
STAINED_DENSITY = 0.025
DARKEST = 0.02


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
    stains = _stains(balanced, stain_space)
    nuclei = _clusters_top(stains) if segmentation == "kmeans" else _otsu_top(stains[..., 0])
    nuclei = _tidied(nuclei, side)
    cell = _central(_cells(balanced, nuclei), side)
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
    """Whether each value is above the highest threshold; with too few values for thresholds, above their middle."""
    try:
        threshold = threshold_multiotsu(values, classes=CLASSES)[-1]
    except ValueError:
        threshold = (values.min() + values.max()) / 2
    return values > threshold


def _clusters_top(stains: np.ndarray) -> np.ndarray:
    """Whether each pixel is in the k-means cluster with the highest first coordinate."""
    pixels = stains.reshape(-1, stains.shape[-1])
    order = np.argsort(pixels[:, 0], kind="stable")
    starts = pixels[order[np.linspace(0, len(order) - 1, CLUSTERS).astype(int)]]
    if len(np.unique(pixels[:, 0])) < CLUSTERS:
        return _otsu_top(stains[..., 0])
    kmeans = KMeans(CLUSTERS, init=starts, n_init=1).fit(pixels)
    return (kmeans.labels_ == kmeans.cluster_centers_[:, 0].argmax()).reshape(stains.shape[:2])


def _cells(balanced: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """All white cells: nuclei, and what absorbs more green than haemoglobin does at the same blue."""
    side = len(nuclei)
    density = -np.log(np.maximum(gaussian(balanced, sigma=side / 96, channel_axis=-1), DARKEST))
    stained = density[..., 1] - HAEMOGLOBIN_GREEN_PER_BLUE * density[..., 2] > STAINED_DENSITY
    return _tidied(nuclei | stained, side)


def _tidied(mask: np.ndarray, side: int) -> np.ndarray:
    """Without threads, specks and holes."""
    size = (side // 12) ** 2
    smooth = opening(mask, disk(max(1, side // 48)))
    return remove_small_holes(remove_small_objects(smooth, max_size=size), max_size=size)


def _central(cells: np.ndarray, side: int) -> np.ndarray:
    """The cell nearest to the centre of the image; touching cells part where they are narrow."""
    depth = gaussian(ndimage.distance_transform_edt(np.pad(cells, 1))[1:-1, 1:-1], sigma=side / 32)
    peaks = peak_local_max(depth, min_distance=side // 3, labels=cells.astype(int), exclude_border=False)
    markers = np.zeros(cells.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parts = watershed(-depth, markers, mask=cells)
    if not parts.any():
        return np.zeros_like(cells)
    return parts == parts.flat[np.where(parts > 0, _from_centre(side), np.inf).argmin()]


def _from_centre(side: int) -> np.ndarray:
    """Distance of each pixel (side, side) from the centre."""
    offsets = np.arange(side) - (side - 1) / 2
    return np.hypot(offsets[:, None], offsets)
