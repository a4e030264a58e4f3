"""Errors that end a command. Each message is one line that a user can act on."""


class _OneLineError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class InputError(_OneLineError):
    """Bad arguments or bad input: exit code 2. The message names the option, file or value."""


class StudyFailedError(_OneLineError):
    """The study failed: exit code 1. The message says what failed and why."""
