"""How this process keeps the memory that it has freed."""

import contextlib
import ctypes
from collections.abc import Iterator

__all__ = ["keep_freed_memory", "kept_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""The names of the two settings, from malloc.h."""


def _set(trim: int, mmap: int) -> None:
    """For GNU's C library (Linux); elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM_THRESHOLD, trim)
        mallopt(MMAP_THRESHOLD, mmap)


def keep_freed_memory() -> None:
    """Let this process keep memory that one step frees for the next step, for good.

    Feature maps are megabytes; fetched anew in each step they cost a tenth of its time. A GPU's memory is kept by torch
    itself.
    """
    _set(1 << 30, 1 << 25)


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """The same while the block runs. Afterwards what is free goes back to the system, and later on what is freed does too,
    as far as nothing that is in use lies above it on the heap: glibc's usual rule."""
    keep_freed_memory()
    try:
        yield
    finally:
        # Where glibc's own rule ends in a process that has freed large blocks: its rule is off once a value was set.
        _set(1 << 26, 1 << 25)
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
