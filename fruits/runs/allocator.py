"""The memory of a run's own process, which needs one large table after another."""

import ctypes
import sys
from functools import cache

import pyarrow as pa

# Of glibc's <malloc.h>; the manual page mallopt(3) describes them.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_BLOCK = 128 * 1024
_ARENAS = 2


def return_freed_memory() -> None:
    """Returns what was freed to the system, now, and large blocks as soon as they are freed.

    Arrow's own allocator, and glibc's for blocks of up to 32 MB, keep it for the next allocation: a
    seventh of the peak of a run with a million images. Without glibc, only Arrow's is changed.
    """
    glibc = _frugal_allocators()
    if glibc:
        glibc.malloc_trim(0)


@cache
def _frugal_allocators() -> ctypes.CDLL | None:
    """Sets the allocators of this process, once; returns the C library where it is glibc."""
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    # glibc starts with these values and raises them when a large block is freed.
    library.mallopt(_M_TRIM_THRESHOLD, _BLOCK)
    library.mallopt(_M_MMAP_THRESHOLD, _BLOCK)
    library.mallopt(_M_ARENA_MAX, _ARENAS)
    return library
