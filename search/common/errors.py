"""The two ways a study ends other than well. Each message is one line a user can act on."""


class _OneLineError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class InputError(_OneLineError):
    """Bad arguments or bad input: exit code 2. The message names the file or value at fault."""


class StudyFailedError(_OneLineError):
    """The study could not be carried out: exit code 1. The message says what failed and why."""
