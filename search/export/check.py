"""The check of an exported file: loaded again, it must give the probabilities that the network gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from search.data.decode import resize_square
from search.export.formats import Kind, unpack
from search.training.device import Device, choose_device
from search.training.trainedmodel import TrainedModel, load_model

# Of a probability, between a file and its network. Both see the same pixels, so only the order of sums in float32
# differs.
TOLERANCE = 1e-3
# Exported files compute in float32, and so must what they are compared with.
FLOAT32 = Device(torch.device("cpu"), bf16=False)

Photos = Sequence[NDArray[np.uint8]]
Probabilities = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Largest differences of a probability on the images of a check.

    Attributes:
        from_network: between the file and the network in float32.
        in_bf16: between the network in float32 and in bfloat16, as this machine predicts; None where it does not.
    """

    from_network: float
    in_bf16: float | None


def check(file: Path, kind: Kind, model: TrainedModel, photos: Photos) -> Agreement:
    """Compare an exported file with the network.

    Args:
        photos: images of any size, uint8 (height, width, 3).
    """
    squares = np.stack([resize_square(photo, model.config.input_px) for photo in photos])
    expected = model.predict(squares, FLOAT32)
    found = _READERS[kind](file, photos, squares)
    apart = float(np.abs(found - expected).max())
    in_bf16 = None
    if choose_device(gpu=False).bf16:
        in_bf16 = float(np.abs(model.predict(squares) - expected).max())
    return Agreement(from_network=apart, in_bf16=in_bf16)


def _of_onnx(file: Path, photos: Photos, _: NDArray[np.uint8]) -> Probabilities:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"images": photo[None]})[0] for photo in photos])


def _of_torch(file: Path, _: Photos, squares: NDArray[np.uint8]) -> Probabilities:
    with file.open("rb") as opened:
        program = torch.export.load(opened)
    with torch.no_grad():
        probabilities: Probabilities = program.module()(torch.from_numpy(squares)).numpy()
    return probabilities


def _of_safetensors(file: Path, _: Photos, squares: NDArray[np.uint8]) -> Probabilities:
    with TemporaryDirectory() as folder:
        unpack(file, Path(folder))
        return load_model(Path(folder), trusted=True).predict(squares, FLOAT32)  # it has just been built here


_READERS: Mapping[Kind, Callable[[Path, Photos, NDArray[np.uint8]], Probabilities]] = {
    "onnx": _of_onnx,
    "torch": _of_torch,
    "safetensors": _of_safetensors,
}
