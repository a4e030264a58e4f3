"""The Python API: `run`, `resume` and `open` give a `Study`. Nothing else is imported before it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api.launch import resume, run
    from search.api.study import Study, open

__all__ = ["Study", "open", "resume", "run"]

_MODULES = {"Study": "search.api.study", "open": "search.api.study", "resume": "search.api.launch"}


def __getattr__(name: str) -> Any:
    if name == "run":  # the module, which can be called: `import search.run` gives this name to it anyway
        return import_module("search.run")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
