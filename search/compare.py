"""The command that compares two studies: `python -m search.compare`."""

from pathlib import Path

from search.common.commandline import make_app, run_app
from search.common.console import make_console

app = make_app("search.compare")


@app.default
def main(a: Path, b: Path, /) -> None:
    """Print how two studies were made and where their results differ; on shared folds, by how much.

    Args:
        a: Folder of a study.
        b: Folder of another.
    """
    from search.report.terminal_compare import print_compared

    print_compared(make_console(), a, b)


if __name__ == "__main__":
    run_app(app)
