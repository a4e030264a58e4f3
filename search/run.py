"""The command that runs a study: `python -m search.run`."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, ArgumentCollection, Group, Parameter
from cyclopts.config import Dict
from rich.markup import escape

from search.api.launch import run
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.records.arguments import PLACES, TOTALS, Arguments, Extension, Resources
from search.records.configfile import read_config

if TYPE_CHECKING:
    from search.api.study import Study

OUTPUT = Parameter(group=Group("Output", sort_key=5))
# A resumed study keeps its other arguments.
WITH_RESUME = {"resume", "force", "output", *TOTALS, *PLACES, *(field.name for field in fields(Resources))}


def _complete(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take options that are not on the command line from --config, and refuse those that would be ignored.

    Raises:
        InputError: names the option or the file.
    """
    given = {argument.name: argument.tokens for argument in arguments if argument.tokens}
    if "--config" in given and "--resume" not in given:
        path = Path(given["--config"][-1].value)
        options = Dict(data=dict(read_config(path)), source=str(path), use_commands_as_keys=False)
        options(app, commands, arguments)
        given = {argument.name: argument.tokens for argument in arguments if argument.tokens}
    if "--resume" not in given:
        if "--force" in given:
            raise InputError("--force: only works with --resume")
        return
    new_study = {field.name: str(field.default) for field in fields(Arguments)}
    for flag, tokens in given.items():
        name = flag.removeprefix("--").replace("-", "_")
        if name in (*TOTALS, *PLACES) and tokens[-1].value == new_study[name]:
            raise InputError(f"{flag} {new_study[name]}: with --resume, give it only if it has changed")
        if name not in WITH_RESUME:
            raise InputError(
                f"{flag}: not allowed with --resume, which keeps the study's own arguments; "
                f"only {_options(TOTALS)} can extend it, and {_options(PLACES)} say where its files are now"
            )


def _options(names: Sequence[str]) -> str:
    options = [f"--{name.replace('_', '-')}" for name in names]
    return f"{', '.join(options[:-1])} and {options[-1]}"


app = make_app("search.run", _complete)


@app.default
def main(
    *,
    arguments: Arguments | None = None,
    resources: Resources | None = None,
    output: Annotated[str, OUTPUT] = "results",
    name: Annotated[str | None, OUTPUT] = None,
    resume: Annotated[str | None, OUTPUT] = None,
    force: Annotated[bool, OUTPUT] = False,
    dry_run: Annotated[bool, OUTPUT] = False,
    config: Annotated[Path | None, OUTPUT] = None,
) -> None:
    """Find out where a residual block belongs: search settings, compare all placements, and transfer the winner.

    Args:
        output: Folder in which the study's folder is created, or an address such as s3://bucket/studies.
        name: Name of the study's folder, such as first; by default space, date and time.
        resume: Folder or address of a study to resume, or to extend by --trials, --repeats or --until-settled;
            options such as --data and --space say where its files are now.
        force: Resume even if data, space or code have changed, or a journal is damaged.
        dry_run: Check everything, print the plan and its cost, and stop.
        config: TOML file of options, such as results/first/study.toml; options on the command line win.
    """
    arguments, resources = arguments or Arguments(), resources or Resources()
    # Ray takes seconds to import, and a wrong argument should be reported at once.
    from search.study.launch import new_study, plan_only, resumed_study

    if resume is not None:
        resumed_study(resume, resources, _extension(arguments), _show, force=force)
    elif dry_run:
        plan_only(arguments, resources, output, name)
    else:
        new_study(arguments, resources, output, name, _show)


def _extension(arguments: Arguments) -> Extension:
    """What a resumed study takes anew; an option at its default was not given."""
    unchanged = {field.name: field.default for field in fields(Arguments)}
    given = {field.name: getattr(arguments, field.name) for field in fields(Extension)}
    return Extension(**{name: value for name, value in given.items() if value != unchanged[name]})


def _show(path: Path) -> None:
    """Print a finished study's tables, and draw its figures and page.

    The page is drawn in a process of its own because it needs torch. If that fails, the study is finished all the
    same.
    """
    from search.report.terminal import print_results

    console = make_console()
    print_results(console, path)
    command = [sys.executable, "-m", "search.report", str(path), "--trust"]  # its code has just run
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        console.print(f"[bold]report[/bold]  {escape(str(path / 'report.html'))}", soft_wrap=True)
    else:
        reason = done.stderr.strip().rpartition("\n")[2]
        console.print(f"[yellow]note[/yellow]  no report: {escape(reason)}")
        console.print(f"  again: {escape(f'python -m search.report {shlex.quote(str(path))}')}", soft_wrap=True)


class _Callable(ModuleType):
    """A module that runs a study when it is called.

    `search.run` is this module for whoever has imported it, and a function for whoever calls it.
    """

    def __call__(self, **options: Any) -> "Study":
        """Run a study, see `search.api.launch.run`."""
        return run(**options)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    run_app(app)
