"""`python -m search.run`: the command line of a study."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape

from search.common.commandline import run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.records.arguments import Arguments, Pruner, Resources, parse_share

DEFAULT_SPACE = "residual_placement"
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    space: Annotated[str, typer.Option(help="A space in spaces/, or a Python file.")] = DEFAULT_SPACE,
    data: Annotated[str, typer.Option(help="synthetic, or a folder of images.")] = "synthetic",
    transfer_data: Annotated[
        str | None,
        typer.Option(help="synthetic, none, or a folder; synthetic by default only beside synthetic data."),
    ] = None,
    class_names: Annotated[
        str | None, typer.Option(help="Names of labels, such as 1=neutrophil,2=lymphocyte.")
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="What no split may cross: a column of the label CSV, or a regular expression on names."),
    ] = None,
    transfer_groups: Annotated[str | None, typer.Option(help="The same for the transfer data.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave damaged images out.")] = False,
    profile: Annotated[str, typer.Option(help="auto, quick or paper.")] = "auto",
    trials: Annotated[int | None, typer.Option(help="Trials of the search, over all levels.")] = None,
    time_budget: Annotated[str | None, typer.Option(help="Of the search, such as 30m or 1h30m.")] = None,
    search_folds: Annotated[int | None, typer.Option(help="Folds that trials are scored on.")] = None,
    folds: Annotated[int, typer.Option(help="Folds of the comparison and the transfer.")] = 10,
    repeats: Annotated[int, typer.Option(help="Partitions into folds that are compared on.")] = 1,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    metric: Annotated[
        str, typer.Option(help="Searched for: balanced_accuracy, accuracy or macro_f1.")
    ] = "balanced_accuracy",
    objectives: Annotated[
        str | None, typer.Option(help="The metric and costs (macs, n_parameters) to weigh, by commas.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, random, cmaes, gp or nsga2.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="What stops trials early: race, asha or none.")] = "race",
    finalists: Annotated[
        int | None, typer.Option(help="Trials of each level to confirm on folds of their own; 1 confirms none.")
    ] = None,
    gpus_per_trial: Annotated[
        str | None, typer.Option(help="Share of a GPU, or auto to measure the best; 0.25 where there is one.")
    ] = None,
    cpus_per_trial: Annotated[int, typer.Option(help="CPUs and threads of a trial.")] = 1,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials at once, at most.")] = None,
    trial_timeout: Annotated[
        str | None, typer.Option(help="Longest that a trial or training may run, such as 30m.")
    ] = None,
    profile_trace: Annotated[
        bool,
        typer.Option(
            "--profile-trace",
            help="Trace one epoch of the search's first trial with torch's profiler into trace.json.gz; "
            "that epoch is slowed down, and the file grows by the step.",
        ),
    ] = False,
    log_to: Annotated[
        str | None, typer.Option(help="Follow trainings in tensorboard or mlflow as well, each an extra.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster, or auto.")] = None,
    output: Annotated[Path, typer.Option(help="Where study folders are made.")] = Path("results"),
    name: Annotated[str | None, typer.Option(help="Of the folder; space, date and time by default.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="A study's folder: go on with it; with more --trials or --repeats, extend it."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Resume although data, space or code differ, or a journal is damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and what it costs, and stop.")] = False,
) -> None:
    """Find out where a residual block belongs, compare every placement, and take the best one further."""
    resources = Resources(
        gpus_per_trial=parse_share("--gpus-per-trial", gpus_per_trial),
        cpus_per_trial=cpus_per_trial,
        max_concurrent=max_concurrent,
        trial_timeout=trial_timeout,
        profile_trace=profile_trace,
        address=address,
        log_to=log_to,
    )
    default_transfer = "synthetic" if data == "synthetic" else "none"
    arguments = Arguments(
        space=space,
        data=data,
        transfer_data=transfer_data or default_transfer,
        class_names=class_names,
        groups=groups,
        transfer_groups=transfer_groups,
        skip_bad=skip_bad,
        profile=profile,
        trials=trials,
        time_budget=time_budget,
        search_folds=search_folds,
        folds=folds,
        repeats=repeats,
        seed=seed,
        metric=metric,
        objectives=objectives,
        sampler=sampler,
        pruner=cast(Pruner, pruner),  # it is checked there
        finalists=finalists,
    )
    # Ray takes seconds to import, and a wrong argument should be told at once.
    from search.study.launch import new_study, plan_only, resumed_study
    from search.study.resume import Extension

    if force and resume is None:
        raise InputError("--force: it goes with --resume")
    if resume is not None:
        _refuse_beside_resume(arguments, name)
        extension = Extension(trials=trials, repeats=None if repeats == 1 else repeats)
        _show(resumed_study(resume, resources, extension, force=force))
    elif dry_run:
        plan_only(arguments, resources)
    else:
        _show(new_study(arguments, resources, output, name))


def _show(path: Path) -> None:
    """Print a finished study's tables, and make its figures and page.

    The page is made in a process of its own, since it takes torch; a study that has finished stays so whatever
    becomes of it.
    """
    from search.report.terminal import print_results

    console = make_console()
    print_results(console, path)
    command = [sys.executable, "-m", "search.report", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        console.print(f"[bold]report[/bold]  {escape(str(path / 'report.html'))}", soft_wrap=True)
    else:
        reason = done.stderr.strip().rpartition("\n")[2]
        again = f"python -m search.report {path}"
        console.print(f"[yellow]note[/yellow]  no report: {escape(reason)}; {escape(again)} tries again")


def _refuse_beside_resume(arguments: Arguments, name: str | None) -> None:
    """A study goes on with the arguments it began with; others would be passed over in silence."""
    given, default = asdict(arguments), asdict(Arguments(space=DEFAULT_SPACE, transfer_data="synthetic"))
    kept = [flag for flag in given if flag not in ("trials", "repeats")]
    changed = [flag for flag in kept if given[flag] != default[flag]] + (["name"] if name else [])
    if changed:
        flag = "--" + changed[0].replace("_", "-")
        raise InputError(
            f"{flag}: a resumed study goes on with the arguments it began with; --trials and --repeats extend it"
        )


if __name__ == "__main__":
    run_app(app)
