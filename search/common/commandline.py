"""The program `wbc-search` and its commands: their names, their parser, their exit codes and their last words.

Exit codes: 0 done, 1 the study failed, 2 bad arguments or input, 130 interrupted.
"""

import io
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    Token,
    UnknownOptionError,
    UnusedCliTokensError,
)

from search.common.errors import InputError, StudyFailedError

PROGRAM = "wbc-search"
# Each is the same as `python -m search.NAME`.
COMMANDS = {
    "run": ("search.run", "Run a study, resume it or extend it."),
    "show": ("search.show", "Print the tables of a study."),
    "report": ("search.report.__main__", "Draw the page and the figures of a study."),
    "predict": ("search.predict.__main__", "Classify images with the network that a study chose."),
    "export": ("search.export.__main__", "Write the network that a study chose to one file for other programs."),
    "compare": ("search.compare", "Print how two studies differ."),
    "audit": ("search.audit.__main__", "Look for what is wrong with images before a study."),
    "shift": ("search.shift.__main__", "Train a network on each laboratory and test it on all."),
}


class Interrupted(Exception):
    """The user stopped the command; the message says how to resume it."""


def make_program() -> App:
    """The program with all its commands; a command is imported when it is used."""
    app = _plain_app(PROGRAM)
    app.help = "Find out where a residual block belongs in a small network, and how sure that is."
    app.help_epilogue = f"{PROGRAM} COMMAND --help describes a command."
    for place, (name, (module, summary)) in enumerate(COMMANDS.items()):
        app.command(f"{module}:app", name=name, help=summary, sort_key=place)
    completion = "Complete commands and options in this shell from now on."
    app.register_install_completion_command(help=completion, sort_key=len(COMMANDS))
    return app


def make_app(module: str, config: Callable[..., None] | None = None) -> App:
    """The command line of a module that runs as `python -m`.

    Args:
        config: called with the app, the subcommands and the parsed arguments before they are converted.
    """
    name = module.removeprefix("search.")
    app = _plain_app(name if name in COMMANDS else f"python -m {module}")
    app.config = config
    if name in COMMANDS:  # described alike, however it is run
        app.help, app.help_epilogue = COMMANDS[name][1], ""
    return app


def _plain_app(name: str) -> App:
    app = App(
        name=name,
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
    started = Path(sys.argv[0])
    is_program = started.stem == PROGRAM or (started.parent.name, started.name) == ("search", "__main__.py")
    return shlex.join([*([PROGRAM] if is_program else ["python", "-m", module]), *sys.argv[1:]])


def exit_code(app: App, arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's, and return its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if app.name[0] in COMMANDS:  # its help names the program, too
        program = _plain_app(PROGRAM)
        program.command(app)
        tokens, app = [app.name[0], *tokens], program
    try:
        app(tokens, exit_on_error=False, print_error=False, verbose=False, result_action="return_none")
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


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """The choice that is spelled most alike, as the end of a message; empty if none is."""
    alike = get_close_matches(given, [str(choice) for choice in choices], n=1)
    return f"; did you mean {alike[0]}?" if alike else ""


def _fail(message: str, code: int) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
    return code


def _described(error: CycloptsError) -> str:
    """What is wrong with the command line, in one line."""
    if isinstance(error, CoercionError) and error.token is not None:
        culprit = f"{_option(error.token)} {error.token.value}".strip()
        choices = get_args(error.target_type) if get_origin(error.target_type) is Literal else ()
        return f"{culprit}: must be {_described_type(error.target_type)}{did_you_mean(error.token.value, choices)}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        n_values, _ = error.argument.token_count()
        needed = "a value" if n_values == 1 else f"{n_values} values"
        return f"{error.keyword or error.argument.name}: needs {needed}"
    if isinstance(error, UnknownOptionError):
        given = _option(error.token) or error.token.value
        known = [name for argument in error.argument_collection for name in argument.names]
        return f"{given}: no such option{did_you_mean(given.rpartition(' ')[2], known)}"
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument {shlex.join(error.unused_tokens or [])}"
    return str(error)


def _option(token: Token) -> str:
    """The option that a token was given for, and the file that it is from; empty for a nameless argument."""
    if token.source == "cli":
        return token.keyword or ""
    return f"--config {token.source}: --{(token.keyword or '').strip('[]')}"


def _described_type(allowed: Any) -> str:
    """A type in words, such as "a number or auto"."""
    if isinstance(allowed, str):  # a choice of a Literal
        return allowed
    parts = [_described_type(part) for part in get_args(allowed) if part is not NoneType]
    return " or ".join(parts) or {int: "an integer", float: "a number", bool: "true or false"}.get(
        allowed, allowed.__name__
    )
