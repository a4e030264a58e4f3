"""The command that draws the figures and the page of a study: `python -m search.report`."""

from rich.markup import escape

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.records.mirror.home import local_copy

app = make_app("search.report")


@app.default
def main(study: str, /, *, trust: bool = False) -> None:
    """Draw the figures of a study, finished or not, and its page, report.html, in its folder.

    Args:
        study: Folder of a study, or its address; of that, a copy on this machine gets the page.
        trust: Run the Python file in the study's folder that defines its network, to draw what the network sees.
    """
    # With matplotlib and torch, for which --help need not wait.
    from search.records.results import read_results
    from search.report.report import draw_report
    from search.training.rebuild import SOURCE

    console = make_console()
    folder = local_copy(study)
    results = read_results(folder, trusted=trust)
    source = folder / "model" / SOURCE
    if source.exists() and not trust:
        console.print(
            f"[yellow]note[/yellow]  what the network sees is not drawn: {escape(str(source))} defines it; "
            "--trust runs that file",
            soft_wrap=True,
        )
    for file in draw_report(results):
        console.print(escape(str(file)), soft_wrap=True)


if __name__ == "__main__":
    run_app(app)
