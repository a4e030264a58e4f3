"""The options of a study as a TOML file: `study.toml` in its folder, and `--config` of `search.run`."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import tomli_w

from search.common.errors import InputError
from search.records.arguments import Arguments, Resources

Options = dict[str, str | int | float | bool]
CONFIG_FILE = "study.toml"


def config_text(arguments: Arguments, resources: Resources) -> str:
    """Every option that has a value, by its name without dashes in front; paths are absolute."""
    values = {**arguments.recorded(), **asdict(resources)}
    options = {name.replace("_", "-"): value for name, value in values.items() if value is not None}
    return f"# wbc-search run --config {CONFIG_FILE}\n{tomli_w.dumps(options)}"


def read_config(path: Path) -> Options:
    """The options in a file.

    Raises:
        InputError: no such file, not TOML, or an option that is not a plain value; names the file.
    """
    try:
        content: Mapping[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not TOML: {error}"
        raise InputError(f"--config {path}: {reason}") from error
    options: Options = {}
    for name, value in content.items():
        if not isinstance(value, str | int | float | bool):
            raise InputError(f"--config {path}: {name}: must be a plain value, such as {name} = 10")
        options[name] = value
    return options
