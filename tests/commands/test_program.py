"""`wbc-search` runs every command by its name, and takes options from a file."""

import subprocess
import sys

import pytest

from search import run
from search.common.commandline import COMMANDS, PROGRAM, exit_code, make_program
from search.records.arguments import Arguments, Resources
from search.records.configfile import CONFIG_FILE, config_text, read_config


def test_without_a_command_all_are_listed(capsys):
    assert exit_code(make_program(), []) == 0
    out = capsys.readouterr().out
    assert all(name in out and summary[:40] in out for name, (_, summary) in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_names_the_program(name, capsys):
    assert exit_code(make_program(), [name, "--help"]) == 0
    assert f"{PROGRAM} {name}" in capsys.readouterr().out


def test_a_misspelled_command_is_named(capsys):
    assert exit_code(make_program(), ["rnu"]) == 2
    assert "run" in capsys.readouterr().err


def test_the_package_runs_as_the_program():
    done = subprocess.run([sys.executable, "-m", "search", "show", "nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere" in done.stderr


def test_options_survive_the_file_that_is_written(tmp_path):
    arguments = Arguments(
        data=str(tmp_path), folds=5, margin=0.5, control=True, objectives="accuracy,macs", metric="accuracy"
    )
    resources = Resources(gpus_per_trial="auto", max_concurrent=3)
    file = tmp_path / CONFIG_FILE
    file.write_text(config_text(arguments, resources), encoding="utf-8")
    options = {name.replace("-", "_"): value for name, value in read_config(file).items()}
    given = arguments.recorded() | {"gpus_per_trial": "auto", "max_concurrent": 3}
    assert all(options[name] == value for name, value in given.items() if value is not None)


def config(tmp_path, text):
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    return "--config", str(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("folds = ", ["c.toml", "TOML"]),
        ("foldz = 3", ["c.toml", "foldz", "--folds?"]),
        ('folds = "three"', ["c.toml", "folds", "three"]),
        ("folds = [3]", ["c.toml", "folds"]),
        ("folds = 1", ["--folds 1"]),
        ("force = true", ["--force"]),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, named, capsys):
    assert exit_code(run.app, config(tmp_path, text)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in named)


def test_the_command_line_wins_over_the_file(tmp_path, capsys):
    options = config(tmp_path, "folds = 1\nsearch_folds = 3\nskip-bad = true\n")
    assert exit_code(run.app, [*options, "--folds", "2", "--trials", "0"]) == 2
    assert "--trials 0" in capsys.readouterr().err  # and not --folds 1


def test_a_resumed_study_keeps_its_own_options(tmp_path, capsys):
    assert exit_code(run.app, ["--resume", str(tmp_path), *config(tmp_path, "folds = 3")]) == 2
    assert "--config" in capsys.readouterr().err
