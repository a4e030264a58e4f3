"""The command that compares two studies: `python -m search.compare`."""

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.records.mirror.home import local_copy

app = make_app("search.compare")


@app.default
def main(a: str, b: str, /) -> None:
    """Print how two studies were made and where their results differ; on shared folds, by how much.

    Args:
        a: Folder of a study, or its address.
        b: Folder or address of another.
    """
    from search.report.terminal_compare import print_compared

    print_compared(make_console(), local_copy(a), local_copy(b))


if __name__ == "__main__":
    run_app(app)
