"""A network of timm as a torch module, and its weights from files that are already there."""

from difflib import get_close_matches
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from wbcmodels.building import optional_module
from wbcmodels.pretrained import load_all_but_head, read_weights

MOST_STAGES = 5
SAFE_FILES = {
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


class TimmNetwork(nn.Module):
    """The network as the submodule `network`: its own attributes may be called `head` and `stages` as well.

    Attributes:
        head: the dotted name of the last linear layer.
        stages: dotted names of the submodules whose outputs are maps (N, C, H, W), at most the last five; none if
            the network has no such maps.
    """

    def __init__(self, name: str, input_px: int, n_classes: int) -> None:
        super().__init__()
        known = _pretrained_cfg(name)
        self.network = _create(name, input_px, num_classes=n_classes)
        modules = dict(self.network.named_modules())
        if not isinstance(known.classifier, str) or not isinstance(modules.get(known.classifier), nn.Linear):
            raise ValueError(f"name must be a network with one linear layer at its end, not {name!r}")
        self.head = f"network.{known.classifier}"
        self.stages = tuple(f"network.{module}" for module in _maps(self.network, name, input_px)[-MOST_STAGES:])

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised images (N, 3, input_px, input_px) -> logits (N, n_classes)."""
        return self.network(images_NCHW)


def normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of red, green and blue, 0 to 255, that pretrained weights expect."""
    known = _pretrained_cfg(name)
    (red, green, blue), (red_std, green_std, blue_std) = known.mean, known.std
    return (255 * red, 255 * green, 255 * blue), (255 * red_std, 255 * green_std, 255 * blue_std)


def load_pretrained(network: nn.Module, name: str, input_px: int, file: str | None) -> None:
    """Load weights from a file, or timm's from the Hugging Face cache, into all but the last layer."""
    path = _cached_file(name) if file is None else Path(file)
    state, known = read_weights(path), _pretrained_cfg(name)
    # timm itself converts the names in the file and the positions of another image size. A head of the file's
    # classes makes it insist on every name.
    head = state.get(f"{known.classifier}.weight")
    overlay = {"state_dict": state, "num_classes": known.num_classes if head is None else len(head)}
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            donor = _create(
                name,
                input_px,
                pretrained=True,
                pretrained_cfg_overlay=overlay,
                num_classes=overlay["num_classes"],
            )
    except (RuntimeError, KeyError) as error:
        reason = shorten(str(error), 300, placeholder=" …")  # the error lists every name
        raise ValueError(f"the weights file {path} is not of {name}: {reason}") from error
    load_all_but_head(network, {f"network.{key}": value for key, value in donor.state_dict().items()}, path)


def _timm() -> Any:
    return optional_module("timm", "wbc-search[timm]")


def _pretrained_cfg(name: str) -> Any:
    """What timm knows about the pretrained weights of a name."""
    timm = _timm()
    names = {*timm.list_models(), *timm.list_pretrained()}
    if name not in names:
        similar = get_close_matches(name, sorted(names), n=5)
        hint = f"; similar are {', '.join(similar)}" if similar else ""
        raise ValueError(f"name must be the name of a network in timm, not {name!r}{hint}")
    return timm.get_pretrained_cfg(name)


def _create(name: str, input_px: int, **options: Any) -> nn.Module:
    create = partial(_timm().create_model, name, **({"pretrained": False} | options))
    known = _pretrained_cfg(name)
    if not known.fixed_input_size or known.input_size[-1] == input_px:
        return create()
    try:
        return create(img_size=input_px)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"input_px of {name} cannot be {input_px}: {error}") from error


def _maps(network: nn.Module, name: str, input_px: int) -> list[str]:
    """Names of the submodules whose outputs are maps, found by a pass of an empty image."""
    channels = {
        info["module"]: info["num_chs"] for info in getattr(network, "feature_info", []) if "module" in info
    }
    maps: list[str] = []

    def note(module: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] == channels[module]:
            maps.append(module)

    modules = dict(network.named_modules())
    hooks = [modules[key].register_forward_hook(partial(note, key)) for key in channels.keys() & modules.keys()]
    device = next(network.parameters()).device
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, input_px, input_px, device=device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"input_px of {name} cannot be {input_px}: {error}") from error
    finally:
        network.train()
        for hook in hooks:
            hook.remove()
    return maps


def _cached_file(name: str) -> Path:
    """The file of timm's weights in the Hugging Face cache."""
    repository, _, revision = (_pretrained_cfg(name).hf_hub_id or "").partition("@")
    if not repository:
        raise ValueError(f"pretrained must be False: timm names no weights of {name} at Hugging Face")
    file_name = _pretrained_cfg(name).hf_hub_filename or "pytorch_model.bin"
    safe_name = SAFE_FILES.get(file_name, file_name.removesuffix(".bin") + ".safetensors")
    hub = optional_module("huggingface_hub", "wbc-search[timm]")
    for wanted in (safe_name, file_name):
        found = hub.try_to_load_from_cache(repository, wanted, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    raise ValueError(
        f"the pretrained weights of {name} are missing: run `hf download {repository} {safe_name}`, which puts "
        f"them in {hub.constants.HF_HUB_CACHE}, or download {safe_name} from https://huggingface.co/{repository} "
        "and give its path as weights"
    )
