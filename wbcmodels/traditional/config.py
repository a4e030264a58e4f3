"""Configurations of the traditional system, checked when they are created."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from wbcmodels.checks import check_choice, check_whole_number
from wbcmodels.network import Size
from wbcmodels.traditional.choices import ClassifierName, FeatureSet, Segmentation, StainSpace

if TYPE_CHECKING:
    import numpy as np

    from wbcmodels.traditional.classify import TwoStepClassifier

# Its operations are no multiply-accumulates. An image of 64 px takes 13 ms on one core of a Xeon with AMX (lowest
# of 6 runs); in that time, WBCsNet-2 at 40 px and quarter width computes 4.5e8 of them there.
MACS_PER_PIXEL = 110_000


@dataclass(frozen=True, kw_only=True)
class Traditional:
    """One traditional system: how it finds the nucleus, what it measures and how it classifies.

    Attributes:
        input_px: side of the square RGB input, at least 16.
        stain_space: colours in which the nucleus is found: saturation and red, haematoxylin-eosin-DAB, or Lab.
        segmentation: the nucleus is the upper class of Otsu's thresholds or of k-means clusters.
        feature_set: what is measured.
        classifier: the classifier in both steps.
        n_groups: groups of classes that the first step tells apart; 1 is a classifier in a single step.
        balanced: give the labels of each step, groups or classes, the same weight, instead of all images.
        C: how much an error costs the SVM, above 0.
        n_estimators: trees of the forest, or rounds of boosting, at least 1.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    input_px: int = 64
    stain_space: StainSpace = "red_saturation"
    segmentation: Segmentation = "otsu"
    feature_set: FeatureSet = "shape+colour+texture"
    classifier: ClassifierName = "svm"
    n_groups: int = 2
    balanced: bool = True
    C: float = 10.0
    n_estimators: int = 200

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("stain_space", self.stain_space, get_args(StainSpace))
        check_choice("segmentation", self.segmentation, get_args(Segmentation))
        check_choice("feature_set", self.feature_set, get_args(FeatureSet))
        check_choice("classifier", self.classifier, get_args(ClassifierName))
        check_whole_number("input_px", self.input_px, at_least=16)
        check_whole_number("n_groups", self.n_groups, at_least=1)
        check_whole_number("n_estimators", self.n_estimators, at_least=1)
        if not isinstance(self.balanced, bool):
            raise ValueError(f"balanced must be True or False, not {self.balanced!r}")
        if not (math.isfinite(self.C) and self.C > 0):
            raise ValueError(f"C must be above 0, not {self.C}")

    @property
    def measurement(self) -> "Traditional":
        """What decides the features: this configuration with the classifier's fields at their defaults."""
        kept = ("input_px", "stain_space", "segmentation", "feature_set")
        return Traditional(**{name: getattr(self, name) for name in kept})

    def size(self, n_classes: int) -> Size:
        """No weights that a gradient trains, and as many multiply-accumulates as take the same time."""
        return Size(n_parameters=0, macs=MACS_PER_PIXEL * self.input_px**2)

    def drawn(self, image_HWC: "np.ndarray") -> "np.ndarray":
        """An image (side, side, 3), uint8, with the outlines of nucleus and cytoplasm."""
        from wbcmodels.traditional.overlay import outlined
        from wbcmodels.traditional.segment import segment

        masks = segment(image_HWC, stain_space=self.stain_space, segmentation=self.segmentation)
        return outlined(image_HWC, masks)

    def features(self, images_NHWC: "np.ndarray") -> "np.ndarray":
        """Measure images (n, input_px, input_px, 3), uint8, as float32 (n, features), all finite."""
        from wbcmodels.traditional.features import measure_all

        shape = (self.input_px, self.input_px, 3)
        if images_NHWC.shape[1:] != shape or images_NHWC.dtype != "uint8":
            raise ValueError(f"images must be uint8 (n, {shape}), not {images_NHWC.dtype} {images_NHWC.shape}")
        return measure_all(
            images_NHWC,
            stain_space=self.stain_space,
            segmentation=self.segmentation,
            feature_set=self.feature_set,
        )

    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of `features`."""
        from wbcmodels.traditional.features import names

        return names(self.feature_set)

    def estimator(self, seed: int) -> "TwoStepClassifier":
        """Return an unfitted classifier of features; the same seed and data give the same classifier."""
        from wbcmodels.traditional.classify import build

        return build(
            self.classifier,
            seed,
            n_groups=self.n_groups,
            balanced=self.balanced,
            C=self.C,
            n_estimators=self.n_estimators,
        )
