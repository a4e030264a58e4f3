"""The tables of a study in the terminal: `search.show STUDY_FOLDER`; `search.show --compare A B` for two."""

from pathlib import Path
from typing import Annotated

import typer

from search.common.commandline import run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.report.terminal import print_results
from search.report.terminal_compare import print_compared

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    study: Annotated[Path | None, typer.Argument(help="A study's folder.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A B", help="Two studies' folders, beside each other.")
    ] = None,
) -> None:
    """Print the tables of a study, finished or not, or what differs between two."""
    if study is not None and compare is not None:
        raise InputError(f"{study}: --compare takes the folders of two studies and no third")
    if study is None and compare is None:
        raise InputError("search.show wants a study's folder, or --compare and the folders of two studies")
    if compare is not None:
        print_compared(make_console(), *compare)
    elif study is not None:
        print_results(make_console(), study)


if __name__ == "__main__":
    run_app(app)
