"""How a worker process is kept from hanging, and how it says what went wrong."""

import faulthandler
import os
import time

from search.tuning.cluster import Failure


class Watch:
    """Ends the process when a training has run for too long, whatever it hangs in.

    The watch is kept outside Python, so that code which never lets go of the interpreter is ended too.

    Args:
        timeout_s: of the whole training; None sets no limit.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s

    def __enter__(self) -> None:
        """Watch over a part of the training."""
        if self._deadline is not None:
            left_s = max(0.001, self._deadline - time.monotonic())
            faulthandler.dump_traceback_later(left_s, exit=True, file=_NOWHERE)

    def __exit__(self, *exception: object) -> None:
        """The part is done; what the process does until the next is not watched."""
        faulthandler.cancel_dump_traceback_later()


def failure_of(error: BaseException) -> Failure:
    """What a table and the console say of an exception."""
    import torch  # the driver imports this module too, and should not wait for torch

    first_line = str(error).strip().partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Failure(f"out of memory: {first_line}" if first_line else "out of memory", again=True)
    return Failure(f"{type(error).__name__}: {first_line}")


# The traceback is of no use to a user; the file must stay open as long as the watch may fire.
_NOWHERE = os.open(os.devnull, os.O_WRONLY)
