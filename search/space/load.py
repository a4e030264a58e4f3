"""Files of spaces: found, imported and checked."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from search.common.commandline import did_you_mean
from search.common.errors import InputError
from search.common.installation import SPACES
from search.space.configuration import Configuration
from search.space.space import CONTROL_LEVEL, PAPER_LEVELS, Space, sample
from search.space.suggest import FixedSuggester

_MODULE_PREFIX = "wbc_search_space_"


def load_space(name_or_path: str) -> tuple[str, Space]:
    """Load a space by its name in `spaces/`, or from a Python file.

    Returns:
        The name of the module or file, and its SPACE.
    Raises:
        InputError: no such space, a file that cannot be imported or defines no SPACE, or a SPACE that fails to
            create its configurations; names the space and the reason.
    """
    path = space_file(name_or_path)
    try:
        space = getattr(import_file(path), "SPACE", None)
    except Exception as error:
        raise InputError(f"--space {path}: {type(error).__name__}: {error}") from error
    if not isinstance(space, Space):
        raise InputError(f"--space {name_or_path}: defines no SPACE = Space(...)")
    _check(name_or_path, space)
    return path.stem, space


def space_file(name_or_path: str) -> Path:
    """The file of a space, given by its name or path.

    Raises:
        InputError: no such space or file.
    """
    path = Path(name_or_path) if name_or_path.endswith(".py") else _named_file(name_or_path)
    if not path.is_file():
        raise InputError(f"--space {path}: no such file")
    return path


def _named_file(name: str) -> Path:
    known = sorted(path.stem for path in SPACES.glob("*.py") if path.stem != "__init__")
    if name not in known:
        raise InputError(
            f"--space {name}: no such space; use {', '.join(known)}, or FILE.py{did_you_mean(name, known)}"
        )
    # By file, not by package name: another distribution is also called `spaces`.
    return SPACES / f"{name}.py"


def is_space_module(name: str) -> bool:
    """Whether a module of this name was imported from a space's file, and not from an installed package."""
    return name.startswith(_MODULE_PREFIX)


def import_file(path: Path) -> ModuleType:
    """Import a space's file, or the copy of one; whatever it raises passes through."""
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]
    name = f"{_MODULE_PREFIX}{digest}_{path.stem}"  # cannot shadow another module
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None  # true for every path that ends in .py
    module = importlib.util.module_from_spec(specification)
    # Dataclasses look up their module by name while its code runs.
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def _check(name: str, space: Space) -> None:
    if not space.levels or not space.quick:
        raise InputError(f"--space {name}: SPACE needs at least one level and one quick profile")
    if len(set(space.levels)) < len(space.levels):
        raise InputError(f"--space {name}: a level occurs twice in {', '.join(space.levels)}")
    known = (*space.levels, *space.paper_levels)
    if space.reference not in known:
        raise InputError(f"--space {name}: the reference {space.reference} is none of {', '.join(known)}")
    for effect in space.effects:
        unknown = [level for level in effect.levels if level not in space.levels]
        if unknown or not 0 < len(effect.levels) < len(space.levels):
            raise InputError(
                f"--space {name}: the effect {effect.name} must name some of the levels, not all; "
                f"it names {', '.join(effect.levels) or 'none'}"
            )
    taken = [level for level in space.levels if level in (*PAPER_LEVELS, CONTROL_LEVEL)]
    if taken:
        raise InputError(f"--space {name}: the level name {taken[0]} is reserved; choose another")
    for profile in (space.paper, *space.quick):
        for level in space.levels:
            try:
                made = sample(space, level, profile, 3)
                made += [
                    space.configure(FixedSuggester(params), level, profile)
                    for params in space.first_points(level, profile)
                ]
                if not all(isinstance(configuration, Configuration) for configuration in made):
                    raise TypeError("configure must return a Configuration")
            except Exception as error:
                raise InputError(f"--space {name}, level {level}: {type(error).__name__}: {error}") from error
