"""The command that runs a study: `python -m search.run`."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Group, Parameter
from rich.markup import escape

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.records.arguments import Arguments, Resources

OUTPUT = Parameter(group=Group("Output", sort_key=5))
# A resumed study keeps its other arguments.
EXTENSIONS = ("trials", "repeats", "until_settled", "data", "transfer_data")
WITH_RESUME = {"resume", "force", "output", *EXTENSIONS, *(field.name for field in fields(Resources))}


def _check_combination(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse options that would be ignored next to others.

    Raises:
        InputError: names the option.
    """
    given = [argument.name for argument in arguments if argument.tokens]
    if "--resume" not in given:
        if "--force" in given:
            raise InputError("--force: only works with --resume")
        return
    for name in given:
        if name.removeprefix("--").replace("-", "_") not in WITH_RESUME:
            raise InputError(
                f"{name}: not allowed with --resume, which keeps the study's own arguments; "
                "only --trials, --repeats and --until-settled can extend it, and --data and --transfer-data say "
                "where its images are now"
            )


app = make_app("search.run", _check_combination)


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
) -> None:
    """Find out where a residual block belongs: search settings, compare all placements, and transfer the winner.

    Args:
        output: Folder in which the study's folder is created, or an address such as s3://bucket/studies.
        name: Name of the study's folder; by default space, date and time.
        resume: Folder or address of a study to resume, or to extend by --trials, --repeats or --until-settled.
        force: Resume even if data, space or code have changed, or a journal is damaged.
        dry_run: Print the plan and its cost, and stop.
    """
    arguments, resources = arguments or Arguments(), resources or Resources()
    # Ray takes seconds to import, and a wrong argument should be reported at once.
    from search.study.launch import new_study, plan_only, resumed_study
    from search.study.resume import Extension

    if resume is not None:
        repeats = arguments.repeats if arguments.repeats > 1 else None
        extension = Extension(
            trials=arguments.trials,
            repeats=repeats,
            until_settled=arguments.until_settled,
            data=None if arguments.data == "synthetic" else arguments.data,
            transfer_data=arguments.transfer_data,
        )
        resumed_study(resume, resources, extension, _show, force=force)
    elif dry_run:
        plan_only(arguments, resources)
    else:
        new_study(arguments, resources, output, name, _show)


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
        again = f"python -m search.report {path}"
        console.print(f"[yellow]note[/yellow]  no report: {escape(reason)}; to try again: {escape(again)}")


if __name__ == "__main__":
    run_app(app)
