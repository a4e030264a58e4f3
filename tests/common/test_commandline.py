"""How a command ends, whatever ends it."""

import os
import signal

import pytest
import typer

from search.common.commandline import Interrupted, exit_code
from search.common.errors import InputError, StudyFailedError


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def fail(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        (lambda: None, 0, ""),
        (interrupt, 130, "interrupted"),
        (fail(Interrupted("go on with\n--resume")), 130, "go on with --resume"),
        (fail(InputError("what: no such file")), 2, "error: what: no such file"),
        (fail(StudyFailedError("no space left")), 1, "error: no space left"),
    ],
    ids=["done", "Ctrl-C", "interrupted", "input", "failed"],
)
def test_a_command_ends_with_its_code_and_at_most_one_line(command, code, line, capsys):
    app = typer.Typer(add_completion=False)
    app.command()(command)
    assert exit_code(app, []) == code
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()) == ("", [line] if line else [])
