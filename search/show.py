"""The command that prints the tables of a study, or compares two: `python -m search.show`."""

from typing import Annotated

from cyclopts import Parameter

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.records.mirror.home import local_copy

app = make_app("search.show")


@app.default
def main(
    study: str | None = None,
    /,
    *,
    compare: Annotated[tuple[str, str] | None, Parameter(metavar="A B")] = None,
) -> None:
    """Print the tables of a study, finished or not, or how two studies differ.

    Args:
        study: Folder or address of a study.
        compare: Folders or addresses of two studies to compare.
    """
    from search.report.terminal import print_results  # with pandas, for which --help need not wait
    from search.report.terminal_compare import print_compared

    if study is not None and compare is not None:
        raise InputError(f"{study}: --compare takes two folders and no third")
    if compare is not None:
        print_compared(make_console(), *map(local_copy, compare))
    elif study is not None:
        print_results(make_console(), local_copy(study))
    else:
        raise InputError("STUDY: give the folder of a study, or --compare with two")


if __name__ == "__main__":
    run_app(app)
