"""Pretrained weights: read from files that are already there, checked and loaded. Nothing is downloaded."""

import hashlib
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wbcmodels.network import head_name

# Files from before torch 0.4.1 lack it; batch norm starts it at 0 then.
COUNTER = ".num_batches_tracked"


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict onto the CPU.

    Args:
        path: a `.safetensors` file, or one of `torch.save`; of that only tensors are unpickled.
    Raises:
        ValueError: the file is missing, is damaged or holds anything but tensors by name; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # torch's older format cannot be mapped into memory.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"the weights file {path} cannot be read: {error}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError(f"the weights file {path} does not hold tensors by name")
    return dict(state)


def check_digest(path: str | Path, sha256_prefix: str) -> None:
    """Raise a ValueError that names the file unless its SHA-256 starts with the prefix."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256_prefix):
        raise ValueError(
            f"the weights file {path} is damaged or another file: its SHA-256 starts with "
            f"{digest[: len(sha256_prefix)]}, not {sha256_prefix}"
        )


def load_all_but_head(network: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Copy all weights and statistics into a network, except those of its head, see `network.head_name`.

    Args:
        network: has a head, which stays as it is.
        state: the weights by name; a head among them is ignored, whatever its shape.
        source: where they come from, for the message.
    Raises:
        ValueError: names or shapes differ; names the source. The network is unchanged then.
    """
    head = f"{head_name(network)}."
    wanted = {name: value.shape for name, value in network.state_dict().items() if not name.startswith(head)}
    given = {name: value for name, value in state.items() if not name.startswith(head)}
    missing = [name for name in wanted.keys() - given.keys() if not name.endswith(COUNTER)]
    unexpected = given.keys() - wanted.keys()
    misshapen = [name for name in wanted.keys() & given.keys() if given[name].shape != wanted[name]]
    for problem, names in (("without", missing), ("with", unexpected), ("of other shape in", misshapen)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
            raise ValueError(f"{source}: weights of another network, {problem} {shown}")
    network.load_state_dict(given, strict=False)
