"""The page cache: a file taken out of it, so that whoever opens it next reads it from where it is stored."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

from kdbench.errors import StageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def drop(path: Path) -> None:
    """Take a file out of the page cache.

    Raises:
        UsageError: this system has no way to.
        StageError: it stays there, or is not ours to write, so that Linux shows all of it as being there.
        OSError: it cannot be read.
    """
    if not hasattr(os, "posix_fadvise"):
        raise UsageError("cold_cache: this system cannot take a file out of its page cache; Linux can")
    with path.open("rb") as file:
        os.fsync(file.fileno())  # what is not written yet stays
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if held := cached_pages(path):
        where = "its file system lives in memory, another process holds it, or it is not yours to write"
        raise StageError(f"cold_cache: {held} pages of the program stay in the page cache: {where}")


def cached_pages(path: Path) -> int:
    """How many of a file's pages are in the page cache (mincore(2)). Raises OSError."""
    size = path.stat().st_size
    if not size:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as view:
        start = ctypes.c_char.from_buffer(view)
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages)
        del start  # a view that is pointed into cannot be closed
        if failed:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return sum(page & 1 for page in pages)
