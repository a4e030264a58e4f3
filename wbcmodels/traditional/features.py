"""Named measurements of a segmented cell: shape, colour and texture of its nucleus and cytoplasm.

Lengths are shares of the image's side and areas shares of its area. A quarter turn of the image changes no
feature. What is measured in an empty region is 0.

Sources: Haralick et al., "Textural Features for Image Classification"; Ojala et al., "Multiresolution Gray-Scale
and Rotation Invariant Texture Classification with Local Binary Patterns"; Maragos, "Pattern Spectrum and
Multiscale Shape Representation".
"""

import math
from functools import cache

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed, rgb2hsv, rgb2lab
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.measure import euler_number, label, regionprops
from skimage.morphology import black_tophat, disk, h_maxima, white_tophat

from wbcmodels.traditional.choices import FeatureSet, Segmentation, StainSpace
from wbcmodels.traditional.segment import Masks, depth_in, segment, white_balanced

CHANNELS = ("lightness", "a", "b", "saturation", "haematoxylin", "eosin")
LOBE_DEPTH = 64  # of a side: how much deeper a lobe is than its necks
GREY_LEVELS = 16
GLCM_DISTANCES = (1, 2)
GLCM_ANGLES = tuple(math.pi * quarter / 4 for quarter in range(4))
GLCM_PROPERTIES = ("contrast", "homogeneity", "correlation", "energy", "ASM")
GRAIN_RADII = (1, 2, 3)
LBP_POINTS = 8
LBP_RADII = (1, 2)


def measure_all(
    images_NHWC: np.ndarray, *, stain_space: StainSpace, segmentation: Segmentation, feature_set: FeatureSet
) -> np.ndarray:
    """Measure images (n, side, side, 3), uint8, as float32 (n, features)."""
    rows = []
    for image in images_NHWC:
        masks = segment(image, stain_space=stain_space, segmentation=segmentation)
        rows.append(list(measure(image, masks, feature_set).values()))
    return np.array(rows, np.float32).reshape(len(images_NHWC), len(names(feature_set)))


@cache
def names(feature_set: FeatureSet) -> tuple[str, ...]:
    """Names of the features, in the order of `measure_all`."""
    blank = np.zeros((64, 64, 3), np.uint8)  # the names depend on neither side nor segmentation
    return tuple(measure(blank, segment(blank, stain_space="red_saturation", segmentation="otsu"), feature_set))


def measure(image: np.ndarray, masks: Masks, feature_set: FeatureSet) -> dict[str, float]:
    """Measure one image (side, side, 3), uint8, that is segmented."""
    balanced = white_balanced(image)
    features = shape(masks)
    if "colour" in feature_set:
        features |= colour(balanced, masks)
    if "texture" in feature_set:
        features |= texture(balanced, masks)
    return features


def shape(masks: Masks) -> dict[str, float]:
    """Measure sizes and forms: areas, lobes of the nucleus, and how far the regions are from discs."""
    cell, nucleus = masks.cell, masks.nucleus
    return {
        **_form("nucleus", nucleus),
        **_form("cell", cell),
        "nucleus_share": float(nucleus.sum() / max(cell.sum(), 1)),
        "nucleus_offset": _offset(nucleus, cell),
        "nucleus_pieces": float(label(nucleus).max()),
        "nucleus_holes": float(label(nucleus, connectivity=1).max() - euler_number(nucleus, connectivity=1)),
        "nucleus_depth": float(depth_in(nucleus).max() / len(nucleus)),
        "lobes": float(lobes(nucleus)),
    }


def lobes(nucleus: np.ndarray) -> int:
    """Count the lobes of a nucleus (side, side): peaks of the distance from its edge."""
    if not nucleus.any():
        return 0
    box = ndimage.find_objects(nucleus.astype(int))[0]  # the peaks of a small image take less time
    return int(label(h_maxima(depth_in(nucleus)[box], len(nucleus) / LOBE_DEPTH)).max())


def colour(balanced: np.ndarray, masks: Masks) -> dict[str, float]:
    """Measure means, spreads and differences of the colours of a white-balanced image (side, side, 3)."""
    features: dict[str, float] = {}
    for channel, plane in zip(CHANNELS, _planes(balanced), strict=True):
        inside, outside = _values(plane, masks.nucleus), _values(plane, masks.cytoplasm)
        features |= {
            f"nucleus_{channel}_mean": float(inside.mean()),
            f"nucleus_{channel}_std": float(inside.std()),
            f"cytoplasm_{channel}_mean": float(outside.mean()),
            f"cytoplasm_{channel}_std": float(outside.std()),
            f"difference_{channel}": float(inside.mean() - outside.mean()),
        }
    return features


def texture(balanced: np.ndarray, masks: Masks) -> dict[str, float]:
    """Measure grains, co-occurring grey levels and local patterns in a white-balanced image (side, side, 3)."""
    lightness = rgb2lab(balanced)[..., 0] / 100
    regions = {"nucleus": masks.nucleus, "cytoplasm": masks.cytoplasm}
    features = _grains(lightness, regions) | _patterns(lightness, regions)
    for name, mask in regions.items():
        features |= _cooccurrence(name, lightness, mask)
    return features


def _form(name: str, mask: np.ndarray) -> dict[str, float]:
    """Size and form of all pieces of the mask together."""
    keys = ("area", "solidity", "eccentricity", "form_factor", "extent", "elongation")
    values = [0.0] * len(keys)
    for region in regionprops(mask.astype(np.uint8)):
        values = [
            region.area / mask.size,
            region.solidity,
            region.eccentricity,
            4 * math.pi * region.area / max(region.perimeter, 1) ** 2,
            region.area / max(region.image.shape) ** 2,
            region.axis_minor_length / max(region.axis_major_length, 1),
        ]
    return {f"{name}_{key}": float(value) for key, value in zip(keys, values, strict=True)}


def _offset(nucleus: np.ndarray, cell: np.ndarray) -> float:
    """Distance of the nucleus's centre from the cell's."""
    if not nucleus.any():
        return 0.0
    centres = [np.argwhere(mask).mean(axis=0) for mask in (nucleus, cell)]
    return float(np.linalg.norm(centres[0] - centres[1]) / len(cell))


def _planes(balanced: np.ndarray) -> np.ndarray:
    """Return the planes (channels, side, side) in the order of CHANNELS."""
    saturation, hed = rgb2hsv(balanced)[..., 1:2], rgb2hed(balanced)[..., :2]
    return np.moveaxis(np.concatenate([rgb2lab(balanced), saturation, hed], axis=-1), -1, 0)


def _values(plane: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values of the plane (side, side) in the mask; one 0 if it is empty."""
    return plane[mask] if mask.any() else np.zeros(1)


def _grains(lightness: np.ndarray, regions: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean height of light and dark grains up to each radius."""
    features = {}
    for radius in GRAIN_RADII:
        for kind, tophat in (("light", white_tophat), ("dark", black_tophat)):
            heights = tophat(lightness, disk(radius))
            for name, mask in regions.items():
                features[f"{name}_{kind}_grains_{radius}"] = float(_values(heights, mask).mean())
    return features


def _cooccurrence(name: str, lightness: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Properties of the grey-level co-occurrence matrices within the mask, summed over angles."""
    levels = 1 + np.minimum(lightness * GREY_LEVELS, GREY_LEVELS - 1).astype(np.uint8)
    levels[~mask] = 0
    counts = graycomatrix(levels, GLCM_DISTANCES, GLCM_ANGLES, levels=GREY_LEVELS + 1, symmetric=True)
    within = counts[1:, 1:].sum(axis=3, keepdims=True)
    return {
        f"{name}_{key.lower()}_{distance}": float(value) if pairs else 0.0
        for key in GLCM_PROPERTIES
        for distance, value, pairs in zip(
            GLCM_DISTANCES, graycoprops(within, key)[:, 0], within.sum(axis=(0, 1, 3)), strict=True
        )
    }


def _patterns(lightness: np.ndarray, regions: dict[str, np.ndarray]) -> dict[str, float]:
    """Shares of the uniform local binary patterns."""
    grey = np.rint(255 * lightness).astype(np.uint8)
    features: dict[str, float] = {}
    for radius in LBP_RADII:
        patterns = local_binary_pattern(grey, LBP_POINTS, radius, "uniform").astype(int)
        for name, mask in regions.items():
            shares = np.bincount(patterns[mask], minlength=LBP_POINTS + 2) / max(mask.sum(), 1)
            features |= {f"{name}_pattern_{radius}_{number}": float(share) for number, share in enumerate(shares)}
    return features
