"""A trained network as files: weights as safetensors, and a `config.json` that says how to use them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_weights

from search.errors import InputError
from search.tables import replace_file, write_text
from search.training import Normalisation
from wbcmodels.config import ModelConfig
from wbcmodels.family import WBCsNet, build

WEIGHTS, CONFIG = "weights.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network with what its input needs and what its outputs mean."""

    config: ModelConfig
    normalisation: Normalisation
    classes: tuple[str, ...]
    weights: bytes

    def build(self) -> WBCsNet:
        """The network on the CPU, with its weights."""
        model = build(self.config, seed=0)
        model.load_state_dict(load_weights(self.weights))
        return model


def save_model(folder: Path, model: TrainedModel, about: dict[str, Any]) -> None:
    """Write a network into a folder, which is made.

    Args:
        about: further entries of `config.json`, such as the level and the settings it was trained with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / WEIGHTS, lambda partial: partial.write_bytes(model.weights))
    description = {
        "architecture": asdict(model.config),
        "input_px": model.config.input_px,
        "normalisation": asdict(model.normalisation),
        "classes": model.classes,
        **about,
    }
    write_text(folder / CONFIG, json.dumps(description, indent=2) + "\n")


def load_model(folder: Path) -> TrainedModel:
    """Read a network.

    Raises:
        InputError: a file is missing or is not what it should be; names it.
    """
    path = folder / CONFIG
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        mean, std = description["normalisation"]["mean"], description["normalisation"]["std"]
        model = TrainedModel(
            config=ModelConfig(**description["architecture"]),
            normalisation=Normalisation(mean=tuple(mean), std=tuple(std)),
            classes=tuple(description["classes"]),
            weights=(folder / WEIGHTS).read_bytes(),
        )
        path = folder / WEIGHTS
        model.build()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: there is no such file; has the study come that far?") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: it is damaged: {type(error).__name__}: {error}") from error
    return model
