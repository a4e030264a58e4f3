"""Checks of the fields of a configuration; each raises a ValueError that names the field and the value."""

import math


def check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """One of the choices."""
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, not {value!r}")


def check_whole_number(field: str, value: object, *, at_least: int) -> None:
    """A whole number of at least this."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{field} must be a whole number of at least {at_least}, not {value!r}")


def check_probability(field: str, value: float) -> None:
    """A probability of dropping something: at least 0 and below 1."""
    if not (math.isfinite(value) and 0 <= value < 1):
        raise ValueError(f"{field} must be at least 0 and below 1, not {value!r}")


def check_weights_file(field: str, value: str) -> None:
    """The path of a file that `pretrained.read_weights` reads, by its name; the file itself is not looked at."""
    if not isinstance(value, str) or not value.endswith((".safetensors", ".pth")):
        raise ValueError(f"{field} must be the path of a .safetensors or .pth file, not {value!r}")
