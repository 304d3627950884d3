"""What a process that does nothing but stages does with memory that has become free."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory() -> bool:
    """Let the C library of Linux keep what is freed, for the next step to take; whether it does.

    It hands large blocks back to the system, which gives them out anew page by page, each set to 0
    first: activations of tens of megabytes, freed and asked for in every step, then cost some
    thousand page faults a step (``benchmarks/sparse_step.py --keep-memory``). The most that a
    process holds at a time stays what it was. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1))
