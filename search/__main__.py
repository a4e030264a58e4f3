"""The program `wbc-search`, which is also `python -m search`: runs a command by its name."""

from search.common.commandline import make_program, run_app


def main() -> None:
    """Run the process's command line and exit with its code."""
    run_app(make_program())


if __name__ == "__main__":
    main()
