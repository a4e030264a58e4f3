"""What is done to images before and while a network is trained on them."""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

# Of a square: quarter turns of an image and of its mirror image. Training draws one of them for each image.
N_ORIENTATIONS = 8
Stain = Literal["kept", "white", "reinhard", "macenko"]
Background = Literal["kept", "white"]
Scale = Literal["kept", "nucleus"]
Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How the images of a data set are prepared, equally for training, validation and use.

    What a preparation measures, it measures on all images that it is given together, and never on their labels: a
    study prepares each data set by itself, and a saved network the images that it is asked to classify.

    Attributes:
        stain: "white" divides each image by its background's colour; "reinhard" and "macenko" do so as well, and
            then match the cells' colours to fixed ones: by mean and standard deviation, or by the colours and
            strengths of two stains.
        background: "white" leaves the surroundings of the nucleus and makes all else white.
        scale: "nucleus" zooms, all images of a data set by one factor, until nuclei have a fixed size.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    stain: Stain = "kept"
    background: Background = "kept"
    scale: Scale = "kept"

    def __post_init__(self) -> None:
        """Check every field."""
        for name, kind in (("stain", Stain), ("background", Background), ("scale", Scale)):
            if getattr(self, name) not in get_args(kind):
                choices = ", ".join(get_args(kind))
                raise ValueError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class StainStyle:
    """Colours of a laboratory's images: mean and standard deviation of the optical density of each channel.

    See `search.training.augment.stain_style`, which measures it on unlabelled images.
    """

    mean: Triple
    std: Triple


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strongly each training image is changed at random, besides flips and quarter turns.

    Strengths of 0, the defaults, change nothing. Every image of every epoch has draws of its own.

    Attributes:
        brightness, contrast, saturation: each a factor drawn from 1 - strength to 1 + strength; below 1.
        hue: turn of the colours, drawn from -hue to hue of a full circle; at most 0.5.
        hed: haematoxylin, eosin and residual densities are each multiplied by a factor from 1 - hed to 1 + hed and
            raised by -hed to hed; below 1. Tellez et al. call 0.05 light and 0.2 strong.
        stain: share of the way to another laboratory's colours, at most 1: the image takes up the mean and
            standard deviation of one of `styles`, or without any, of random colours around its own.
        styles: of other laboratories.
        blur_px: largest standard deviation of a Gaussian, in px of the network's input; at most 3.
        zoom: factor on the scale, drawn from 1 / (1 + zoom) to 1 + zoom on a logarithmic scale; at most 1.
        rotation_deg: drawn from -rotation_deg to rotation_deg; at most 45, because quarter turns do the rest.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    Sources: D. Tellez et al., Whole-slide mitosis detection in H&E breast histology using PHH3 as a reference to
    train distilled stain-invariant convolutional networks, IEEE TMI (2018); E. Reinhard et al., Color transfer
    between images, IEEE CG&A (2001).
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    hed: float = 0.0
    stain: float = 0.0
    styles: tuple[StainStyle, ...] = ()
    blur_px: float = 0.0
    zoom: float = 0.0
    rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        """Check every field."""
        highest = {"hue": 0.5, "stain": 1.0, "blur_px": 3.0, "zoom": 1.0, "rotation_deg": 45.0}
        for name in (field.name for field in fields(self) if field.name != "styles"):
            value, top = getattr(self, name), highest.get(name, 1.0)
            if not (math.isfinite(value) and 0 <= value <= top) or (value == top and name not in highest):
                limit = f"at most {top:g}" if name in highest else "below 1"
                raise ValueError(f"{name} must be at least 0 and {limit}, not {value}")
        if self.styles and not self.stain:
            raise ValueError("styles are used only with stain above 0")
