"""What the fields of a traditional system choose between."""

from typing import Literal

StainSpace = Literal["red_saturation", "hed", "lab"]
Segmentation = Literal["otsu", "kmeans"]
FeatureSet = Literal["shape", "shape+colour", "shape+colour+texture"]
ClassifierName = Literal["svm", "random_forest", "gradient_boosting"]
