"""How every command ends: 0 done, 1 failed, 2 bad arguments or input, 130 interrupted; one line says why."""

import io
import shlex
import signal
import sys

import typer

from search.common.errors import InputError, StudyFailedError


class Interrupted(Exception):
    """The user stopped the command; the message says how to go on."""


def run_app(app: typer.Typer) -> None:
    """Run a command line and leave the process with its exit code."""
    # Batch systems end a job with SIGTERM, and shells have background jobs ignore SIGINT: both shall leave
    # readable tables, as Ctrl-C does.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a closed one is None
            stream.reconfigure(errors="replace")  # a terminal may lack a character
    sys.exit(exit_code(app))


def command_given(module: str) -> str:
    """The command line that started this process, as it can be given to a shell again."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def exit_code(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run a command line, by default that of the process, and say with which code it ends."""
    try:
        if app(arguments, standalone_mode=False) == 130:  # what typer makes of Ctrl-C
            return _say("interrupted", 130)
    except InputError as error:
        return _say(str(error), 2)
    except typer.TyperException as error:
        # A wrong flag or value: its message alone, without the usage text around it.
        return _say(error.format_message() if isinstance(error, typer.BadParameter) else str(error), 2)
    except StudyFailedError as error:
        return _say(str(error), 1)
    except Interrupted as stop:
        return _say(str(stop), 130)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", 130)
    return 0


def _say(message: str, code: int) -> int:
    one_line = " ".join(message.split())
    print(one_line if code == 130 else f"error: {one_line}", file=sys.stderr, flush=True)
    return code
