"""How the C library deals with memory that a training lets go of."""

import ctypes

# Of malloc.h; glibc alone has them, and elsewhere nothing is done.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_ALL, _MB = 2**31 - 1, 2**20


def keep_freed_memory() -> bool:
    """Keep memory that is freed for the next allocation, and do not give it back to the system.

    A step makes and frees the same large tensors as the one before. By default glibc gives each back to the
    system, and the next step pays for every page of it again.

    Returns:
        Whether the C library could be told.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _ALL, _M_TOP_PAD: 64 * _MB}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
