"""A command ends with its exit code and one line, whatever ends it."""

import os
import signal
from pathlib import Path
from typing import Literal

import pytest

from search.common.commandline import Interrupted, exit_code, make_app
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
        (fail(Interrupted("interrupted\n  --resume")), 130, "interrupted\n  --resume"),
        (fail(InputError("what: no such file")), 2, "error: what: no such file"),
        (fail(StudyFailedError("no space left\non device")), 1, "error: no space left on device"),
    ],
    ids=["done", "Ctrl-C", "interrupted", "input", "failed"],
)
def test_a_command_ends_with_its_code_and_reason(command, code, line, capsys):
    app = make_app("test")
    app.default(command)
    assert exit_code(app, []) == code
    assert capsys.readouterr() == ("", f"{line}\n" if line else "")


def command(
    study: Path,
    /,
    *,
    folds: int = 1,
    share: float | Literal["auto"] | None = None,
    metric: Literal["f1", "auc"] = "f1",
    skip: bool = False,
):
    print(study, folds, share, metric, skip)


@pytest.fixture
def app():
    app = make_app("test")
    app.default(command)
    return app


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], ["STUDY"]),
        (["x", "y"], ["y"]),
        (["x", "--folds"], ["--folds"]),
        (["x", "--folds", "two"], ["--folds two", "integer"]),
        (["x", "--share", "much"], ["--share much", "number", "auto"]),
        (["x", "--metric", "f7"], ["--metric f7", "f1", "auc"]),
        (["x", "--metric", "acu"], ["--metric acu", "mean auc?"]),
        (["x", "--metrix", "f1"], ["--metrix", "--metric?"]),
        (["x", "--no-skip"], ["--no-skip"]),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_culprit(app, given, named, capsys):
    assert exit_code(app, given) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert all(word in error for word in named)


def test_options_are_converted_and_the_last_of_a_repeated_one_counts(app, capsys):
    assert exit_code(app, ["--folds", "2", "x", "--folds=3", "--share", "0.5", "--skip"]) == 0
    assert capsys.readouterr().out == "x 3 0.5 f1 True\n"


def test_help_is_printed(app, capsys):
    assert exit_code(app, ["--help"]) == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("STUDY", "--folds", "--share", "--metric", "--skip"))
    assert "--no-" not in out
