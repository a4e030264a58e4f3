"""Images of any form, classified by a trained network."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from search.common.errors import InputError
from search.data.decode import pillow_rgb, read_rgb, resize_square
from search.data.files import files_below
from search.predict.output import table_of
from search.predict.predictions import Predictions
from search.training.trainedmodel import TrainedModel

ImagePath = str | PathLike[str]
OneImage = ImagePath | Image.Image | NDArray[np.uint8]
Images = ImagePath | Sequence[OneImage]


def classify(model: TrainedModel, images: Images) -> pd.DataFrame:
    """Predictions as `search.predict` writes them, see `Study.predict`."""
    given = _listed(images)
    if not given:
        raise InputError("no images to classify")
    names = [_name(image, place) for place, image in enumerate(given)]
    squares = [
        resize_square(_rgb(image, str(name)), model.config.input_px)
        for image, name in zip(given, names, strict=True)
    ]
    probabilities, unlike = model.judge(np.stack(squares))
    found = Predictions(
        names=tuple(map(str, names)), classes=model.classes, probabilities=probabilities, unlike=unlike
    )
    frame: pd.DataFrame = table_of(found).to_pandas()
    return frame.assign(image=names)


def _listed(images: Images) -> list[OneImage]:
    """The images of a sequence, of a folder and all folders below it, or the one file."""
    if isinstance(images, str | PathLike):
        path = Path(images)
        return [path / name for name in files_below(path).images] if path.is_dir() else [path]
    if not isinstance(images, Iterable) or isinstance(images, Image.Image):
        raise InputError(f"images: must be a path or a sequence of images, not one {type(images).__name__}")
    return list(images)


def _name(image: OneImage, place: int) -> str | int:
    return str(image) if isinstance(image, str | PathLike) else place


def _rgb(image: OneImage, name: str) -> NDArray[np.uint8]:
    if isinstance(image, str | PathLike):
        return read_rgb(Path(image))
    if isinstance(image, Image.Image):
        return pillow_rgb(image, f"image {name}")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        form = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image {name}: must be a path, Pillow's image or uint8 (height, width, 3), not {form}")
    return image
