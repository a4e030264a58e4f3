"""Configurations of networks as JSON, and back: how a saved network is built again.

A network of `wbcmodels` is built by this program. Any other is defined by Python code of its own, which is kept
beside its weights as a file and runs only if the caller trusts it.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from search.common.errors import InputError
from search.space.load import import_file, is_space_module
from wbcmodels.network import Model

OUR_PACKAGE = "wbcmodels"
SOURCE = "network.py"


class UntrustedCodeError(InputError):
    """A network that is defined by code which the caller has not said to trust."""


def to_json(config: Model) -> dict[str, Any]:
    """What `from_json` builds the same configuration from; see also `source_of`.

    Raises:
        ValueError: its class is defined inside a function, where nothing can find it again.
    """
    kind = type(config)
    if "<locals>" in kind.__qualname__:
        raise ValueError(f"the class {kind.__qualname__} must be defined at the top of its file")
    module = SOURCE if is_space_module(kind.__module__) else kind.__module__
    return {"architecture": asdict(cast(Any, config)), "class": [module, kind.__qualname__]}


def source_of(config: Model) -> Path | None:
    """The space's file that defines a network; None for a network from an installed package."""
    module = type(config).__module__
    return Path(str(sys.modules[module].__file__)) if is_space_module(module) else None


def from_json(description: Mapping[str, Any], folder: Path, *, trusted: bool) -> Model:
    """The configuration of a saved network.

    Args:
        description: content of its `config.json`.
        folder: that holds it.
        trusted: code that is not this program's may run.
    Raises:
        UntrustedCodeError: it needs such code; names the file.
        InputError: the code cannot be imported; names the file or module.
        ValueError, TypeError, KeyError: the description is damaged.
    """
    module, name = description.get("class", ["wbcmodels.config", "ModelConfig"])
    given = description["architecture"]
    if not isinstance(given, dict):
        raise TypeError("the architecture must be an object")
    if "class" not in description:  # written by an earlier version
        given = {key: value for key, value in given.items() if key not in ("n_classes", "padding")}
    if module.split(".")[0] != OUR_PACKAGE and not trusted:
        where = folder / SOURCE if module == SOURCE else f"the package {module.split('.')[0]}"
        raise UntrustedCodeError(f"{folder}: the network is defined by Python code of its own, {where}")
    return from_fields(_imported(module, name, folder), given)


def from_fields(kind: type, given: Mapping[str, Any]) -> Model:
    """The configuration of a class with the given fields, as JSON has them.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type.
    """
    from pydantic import TypeAdapter  # 0.3 s

    names = [field.name for field in fields(kind)]
    if sorted(given) != sorted(names):
        raise ValueError(f"the architecture must give {', '.join(names)}, not {', '.join(given)}")
    config: Model = TypeAdapter(kind).validate_python(given)
    return config


def _imported(module: str, name: str, folder: Path) -> Any:
    """The class of a name in an installed module, or in the file kept in a folder."""
    try:
        found: Any = import_file(folder / SOURCE) if module == SOURCE else importlib.import_module(module)
        defined_in = found.__name__
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # the file may raise anything
        where = folder / SOURCE if module == SOURCE else module
        raise InputError(f"{where}: {name} cannot be imported: {type(error).__name__}: {error}") from error
    # A description may come from anybody: of a module of ours, nothing that it merely imports is to be created.
    if not is_dataclass(found) or found.__module__ != defined_in:
        raise ValueError(f"{name} is no configuration of {module}")
    return found
