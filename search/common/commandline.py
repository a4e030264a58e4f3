"""The runner that all commands share: their parser, their exit codes and their last words.

Exit codes: 0 done, 1 the study failed, 2 bad arguments or input, 130 interrupted.
"""

import io
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, get_args

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError

from search.common.errors import InputError, StudyFailedError


class Interrupted(Exception):
    """The user stopped the command; the message says how to resume it."""


def make_app(module: str, config: Callable[..., None] | None = None) -> App:
    """The command line of a module that runs as `python -m`.

    Args:
        config: called with the app, the subcommands and the parsed arguments before they are converted.
    """
    app = App(
        name=f"python -m {module}",
        config=config,
        version_flags=(),
        # A flag has no --no- twin and no default worth showing; of a repeated option the last counts.
        default_parameter=Parameter(
            negative=(), show_default=lambda value: None if value is False else value, allow_repeating=True
        ),
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    app["--help"].show = False
    return app


def run_app(app: App) -> None:
    """Run the process's command line and exit with its code."""
    # Batch systems end a job with SIGTERM, and shells make background jobs ignore SIGINT. Both must leave readable
    # tables, as Ctrl-C does.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if closed
            stream.reconfigure(errors="replace")  # a terminal may lack a character
    sys.exit(exit_code(app))


def command_given(module: str) -> str:
    """The command line of this process, quoted for a shell."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def exit_code(app: App, arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's, and return its exit code."""
    try:
        app(arguments, exit_on_error=False, print_error=False, verbose=False, result_action="return_none")
    except InputError as error:
        return _fail(str(error), 2)
    except CycloptsError as error:
        return _fail(_described(error), 2)
    except StudyFailedError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, Interrupted) as stop:
        print(str(stop) or "interrupted", file=sys.stderr, flush=True)
        return 130
    return 0


def _fail(message: str, code: int) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
    return code


def _described(error: CycloptsError) -> str:
    """What is wrong with the command line, in one line."""
    if isinstance(error, CoercionError) and error.token is not None:
        culprit = f"{error.token.keyword or ''} {error.token.value}".strip()
        return f"{culprit}: must be {_described_type(error.target_type)}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        n_values, _ = error.argument.token_count()
        needed = "a value" if n_values == 1 else f"{n_values} values"
        return f"{error.keyword or error.argument.name}: needs {needed}"
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument {shlex.join(error.unused_tokens or [])}"
    return str(error)


def _described_type(allowed: Any) -> str:
    """A type in words, such as "a number or auto"."""
    if isinstance(allowed, str):  # a choice of a Literal
        return allowed
    parts = [_described_type(part) for part in get_args(allowed) if part is not NoneType]
    return " or ".join(parts) or {int: "an integer", float: "a number"}.get(allowed, allowed.__name__)
