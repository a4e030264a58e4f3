"""Studies run from Python: arguments by name in, a study out."""

import io
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from search.common.commandline import Interrupted
from search.common.errors import InputError
from search.records.arguments import Arguments, Extension, Resources

if TYPE_CHECKING:  # pandas, which a wrong argument need not wait for
    from search.api.study import Study

Given = TypeVar("Given", Arguments, Resources)
ARGUMENTS, RESOURCES = (frozenset(field.name for field in fields(kind)) for kind in (Arguments, Resources))


def run(
    *, output: str | PathLike[str] = "results", name: str | None = None, quiet: bool = False, **options: Any
) -> "Study":
    """Run a study in a new folder, from search to transfer, and return it.

    Ctrl-C stops it; `resume` goes on. The study's `report` draws its page.

    Args:
        output: folder in which the study's folder is created.
        name: of the study's folder; by default space, date and time.
        quiet: print nothing.
        options: those of the command, with underscores: the fields of `search.records.arguments.Arguments` and
            `Resources`, such as space="residual_placement", data="my_cells", trials=64, max_concurrent=2.
    Raises:
        TypeError: there is no such option.
        InputError: a bad option, data or space, or the folder exists; names the option as the command does.
        StudyFailedError: the study failed.
        KeyboardInterrupt: it was stopped; the message says how to resume it.
    """
    _refuse_others("run", options, ARGUMENTS | RESOURCES)
    arguments, resources = _checked(Arguments, options, ARGUMENTS), _checked(Resources, options, RESOURCES)
    command = _call("run", {**options, "output": output, "name": name})
    from search.study.launch import new_study

    return _ended(
        lambda keep: new_study(arguments, resources, str(output), name, keep, command=command), quiet=quiet
    )


def resume(folder: str | PathLike[str], *, force: bool = False, quiet: bool = False, **options: Any) -> "Study":
    """Resume a study where it stopped, or extend a finished one, and return it.

    Args:
        folder: of the study.
        force: resume even if data, space or code have changed, or a journal is damaged.
        quiet: print nothing.
        options: the fields of `Resources` and `Extension` in `search.records.arguments`, such as more trials, or
            data where the images are now. The study keeps its other arguments.
    Raises:
        TypeError, InputError, StudyFailedError, KeyboardInterrupt: as `run`.
    """
    new = frozenset(field.name for field in fields(Extension))
    _refuse_others("resume", options, new | RESOURCES)
    arguments, resources = _checked(Arguments, options, new), _checked(Resources, options, RESOURCES)
    extension = Extension(**{name: getattr(arguments, name) for name in new & options.keys()})
    command = _call("resume", {"folder": folder, "force": force, **options})
    from search.study.launch import resumed_study

    return _ended(
        lambda keep: resumed_study(str(folder), resources, extension, keep, force=force, command=command),
        quiet=quiet,
    )


def _refuse_others(function: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in options:
        if name not in known:
            raise TypeError(f"search.{function}() has no option {name}; it has {', '.join(sorted(known))}")


def _checked(kind: type[Given], options: Mapping[str, Any], names: frozenset[str]) -> Given:
    """The options of these names, their types checked, since nothing has parsed them."""
    from pydantic import TypeAdapter, ValidationError  # 0.3 s that `import search` need not wait for

    given = {name: _as_text(value) for name, value in options.items() if name in names}
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}={first['input']!r}: {first['msg']}") from None


def _as_text(value: Any) -> Any:
    """An option's value, a path as the text that an option is."""
    return str(value) if isinstance(value, PathLike) else value


def _call(function: str, options: Mapping[str, Any]) -> str:
    """The call, as `study.json` records it."""
    given = ", ".join(f"{name}={_as_text(value)!r}" for name, value in options.items() if value is not None)
    return f"search.{function}({given})"


def _ended(run_it: Callable[[Callable[[Path], object]], object], *, quiet: bool) -> "Study":
    """The study after its run.

    Args:
        run_it: given a function to call with the study's folder when it is finished.
    """
    from search.api.study import open

    finished: list[Path] = []
    try:
        with redirect_stdout(io.StringIO()) if quiet else nullcontext():
            run_it(finished.append)
    except Interrupted as stopped:  # so that no `except Exception` goes on with the next study
        raise KeyboardInterrupt(str(stopped)) from None
    return open(finished[0], trust=True)  # its code has just run
