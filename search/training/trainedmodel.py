"""Trained networks as files: weights as safetensors, and a `config.json` that describes how to use them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import load, save

from search.common.errors import InputError
from search.common.files import replace_file, write_text
from search.common.metrics import at_temperature
from search.space import Preparation
from search.training.rebuild import SOURCE, from_json, source_of, to_json
from search.training.types import Normalisation
from search.training.typical import Typical, Views, views_of
from wbcmodels.config import ModelConfig
from wbcmodels.network import EstimatorConfig, Model, build_network

if TYPE_CHECKING:  # a study's driver writes these files without torch
    from torch import nn

    from search.training.device import Device

WEIGHTS, TYPICAL, CONFIG = "weights.safetensors", "typical.safetensors", "config.json"
# The order of FC1's inputs. Weights in another order have the same shape and would silently give wrong classes.
FC1_READS = "height, width, channel"


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network, with the preparation and normalisation of its input and the classes of its outputs.

    Of a classifier of measured features, `weights` are what it was fitted to. Logits are divided by `temperature`
    before they become probabilities (Guo et al. 2017, "On calibration of modern neural networks"). `typical` is
    what its training images look like to it, and `data` the name of their data set. Earlier versions lack both,
    and few images do not tell `typical`.
    """

    config: Model
    normalisation: Normalisation
    classes: tuple[str, ...]
    weights: bytes
    preparation: Preparation = field(default_factory=Preparation)
    temperature: float = 1.0
    typical: Typical | None = None
    data: str | None = None

    @property
    def is_network(self) -> bool:
        """Whether it is a network, and not a classifier of measured features."""
        return not isinstance(self.config, EstimatorConfig)

    def build(self) -> "nn.Module":
        """Build the network on the CPU and load its weights.

        Raises:
            TypeError: it is no network.
        """
        from safetensors.torch import load

        if isinstance(self.config, EstimatorConfig):
            raise TypeError(f"{type(self.config).__name__} is no network")
        model = build_network(self.config, len(self.classes), seed=0)
        model.load_state_dict(load(self.weights))
        return model

    def predict(self, pixels_NHWC: NDArray[np.uint8], device: "Device | None" = None) -> NDArray[np.float64]:
        """Class probabilities, (N, n_classes), of images (N, input_px, input_px, 3).

        The images are prepared together, see `search.space.Preparation`: give those of one laboratory.

        Args:
            device: of a network; None: the CPU, in bfloat16 if it has such instructions.
        """
        return self.judge(pixels_NHWC, device)[0]

    def judge(
        self, pixels_NHWC: NDArray[np.uint8], device: "Device | None" = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Class probabilities as of `predict`, and which images do not look like those of the training, (N,).

        The latter are None where it is not known what those look like.
        """
        probabilities, views = self._evaluated(pixels_NHWC, device)
        unlike = None if self.typical is None else self.typical.unlike(views)
        return at_temperature(probabilities, self.temperature), unlike

    def _evaluated(
        self, pixels_NHWC: NDArray[np.uint8], device: "Device | None"
    ) -> tuple[NDArray[np.float64], Views]:
        """Probabilities before calibration, and views of the images."""
        if isinstance(self.config, EstimatorConfig):
            from search.training.estimators import predict

            probabilities, measured = predict(self.config, self.weights, pixels_NHWC, len(self.classes))
            return probabilities, views_of(pixels_NHWC, measured)

        import torch

        from search.training.batches import shared_tensor
        from search.training.device import choose_device
        from search.training.evaluated import evaluate_with_features
        from search.training.fit import on_device

        prepared = self.prepare(pixels_NHWC)
        images = shared_tensor(prepared)
        device = device or choose_device(gpu=False)
        network = on_device(self.build(), device)
        everything = torch.arange(len(images))
        probabilities, features = evaluate_with_features(network, images, everything, self.normalisation, device)
        return probabilities, views_of(prepared, features)

    def prepare(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images (N, input_px, input_px, 3) of one laboratory as the network was trained to see them."""
        from search.training.prepare import prepare

        return prepare(pixels_NHWC, self.preparation)

    def check(self) -> None:
        """Raise an error of any type unless the weights are those of such a network or classifier."""
        if isinstance(self.config, EstimatorConfig):
            from search.training.estimators import fit_again

            fit_again(self.config, self.weights)
        else:
            self.build()


def save_model(folder: Path, model: TrainedModel, about: dict[str, Any]) -> None:
    """Write a network to a folder, which is created if needed.

    Args:
        about: further entries of `config.json`, such as the level and settings of the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / WEIGHTS, lambda partial: partial.write_bytes(model.weights))
    source = source_of(model.config)
    if source is not None:
        write_text(folder / SOURCE, source.read_text(encoding="utf-8"))
    if model.typical is not None:
        typical = model.typical.to_bytes()
        replace_file(folder / TYPICAL, lambda partial: partial.write_bytes(typical))
    else:  # of another network, which was here before
        (folder / TYPICAL).unlink(missing_ok=True)
    description = {
        **to_json(model.config),
        **({"fc1_reads": FC1_READS} if isinstance(model.config, ModelConfig) else {}),
        "input_px": model.config.input_px,
        "preparation": asdict(model.preparation),
        "normalisation": asdict(model.normalisation),
        "classes": model.classes,
        "temperature": model.temperature,
        "data": model.data,
        **about,
    }
    write_text(folder / CONFIG, json.dumps(description, indent=2) + "\n")


def amend(folder: Path, **entries: Any) -> None:
    """Change entries of a saved network's `config.json`, or add them."""
    description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    write_text(folder / CONFIG, json.dumps(description | entries, indent=2) + "\n")


def load_model(folder: Path, *, trusted: bool = False) -> TrainedModel:
    """Read a network.

    Args:
        trusted: code that came with it may run.
    Raises:
        UntrustedCodeError: it is defined by such code, which is not trusted.
        InputError: a file is missing or damaged; names it.
    """
    path = folder / CONFIG
    with _named(path):
        description = json.loads(path.read_text(encoding="utf-8"))
        mean, std = description["normalisation"]["mean"], description["normalisation"]["std"]
        config = from_json(description, folder, trusted=trusted)
        classes = tuple(description["classes"])
        if len(classes) < 2 or len(mean) != 3 or len(std) != 3:
            raise ValueError(f"{len(classes)} classes, {len(mean)} means and {len(std)} standard deviations")
        normalisation = Normalisation(mean=tuple(mean), std=tuple(std))
        # Earlier versions lack these.
        preparation = Preparation(**description.get("preparation", {}))
        temperature = float(description.get("temperature", 1.0))
        if temperature <= 0:
            raise ValueError(f"temperature {temperature}")
        if isinstance(config, ModelConfig) and description.get("fc1_reads") != FC1_READS:
            raise InputError(f"{path}: an earlier version wrote this network, with FC1's inputs in another order")
    weights = read_weights(folder)
    model = TrainedModel(
        config=config,
        normalisation=normalisation,
        classes=classes,
        weights=weights,
        preparation=preparation,
        temperature=temperature,
        typical=_read_typical(folder),
        data=description.get("data"),
    )
    with _named(folder / WEIGHTS):
        model.check()
    return model


def read_weights(folder: Path) -> bytes:
    """Read the weights of a network as safetensors bytes, and check that they are complete.

    Those in half precision, which take half the room, become single.

    Raises:
        InputError: the file is missing or damaged; names it.
    """
    with _named(folder / WEIGHTS):
        weights = (folder / WEIGHTS).read_bytes()
        if all(tensor["dtype"] != "F16" for _, tensor in deserialize(weights)):
            return weights
        return save(
            {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in load(weights).items()}
        )


def _read_typical(folder: Path) -> Typical | None:
    path = folder / TYPICAL
    with _named(path):
        return Typical.from_bytes(path.read_bytes()) if path.exists() else None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raise an InputError that names the file if it cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; the study may not have got that far") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: damaged: {type(error).__name__}: {error}") from error
