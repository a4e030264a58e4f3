"""`python -m search.report STUDY_FOLDER`: the figures of a study, finished or not."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from search.commandline import run_app
from search.console import make_console
from search.report.figures.draw import draw_all

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(study: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Draw what a study's tables hold so far, into its folder."""
    console = make_console()
    for file in draw_all(study):
        console.print(escape(str(file)), soft_wrap=True)


if __name__ == "__main__":
    run_app(app)
