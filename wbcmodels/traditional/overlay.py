"""Drawings of what the segmentation found."""

import numpy as np
from skimage.segmentation import mark_boundaries

from wbcmodels.traditional.segment import Masks

NUCLEUS_RGB = (0.0, 1.0, 0.0)
CYTOPLASM_RGB = (1.0, 1.0, 0.0)


def outlined(image: np.ndarray, masks: Masks) -> np.ndarray:
    """Draw the outlines of cytoplasm and nucleus into a copy of an image (side, side, 3), uint8."""
    drawn = mark_boundaries(image, masks.cell.astype(int), color=CYTOPLASM_RGB, mode="inner")
    drawn = mark_boundaries(drawn, masks.nucleus.astype(int), color=NUCLEUS_RGB, mode="inner")
    return np.rint(255 * drawn).astype(np.uint8)
