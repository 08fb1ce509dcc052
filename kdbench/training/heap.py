"""The heap that tensors on a CPU come from."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's <malloc.h>
_MOST = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 2**25


@contextmanager
def pages_kept() -> Iterator[None]:
    """Inside the block pages that are freed stay this process's, for what is allocated next; after it they go back.

    By its own thresholds glibc gives the activations of a step back to the system and gets them page by page, zeroed,
    in the next. Elsewhere this does nothing. Afterwards the thresholds stay as they are, since glibc cannot undo them.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_M_TRIM_THRESHOLD, _MOST)
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    try:
        yield
    finally:
        libc.malloc_trim(0)
