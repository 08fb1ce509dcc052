"""The memory that a training takes."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Footprint:
    """The peak memory from its making to ``peak()``.

    On a GPU: what torch's allocator held on it. On a CPU: the process's resident memory, interpreter and libraries
    included, which is what a machine must have to run it. Linux starts a new peak (``VmHWM``); where the system cannot,
    the peak is that of the process so far, and ``exact`` is False. ``before`` is what the process held at the start.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.exact = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
            return
        self.before = psutil.Process().memory_info().rss
        try:
            _CLEAR.write_text("5", encoding="ascii")
        except OSError:
            self.exact = False

    def peak(self) -> int:
        """The peak so far, in bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if self.exact:
            match = re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
            if match:
                return int(match[1]) * 1024
            self.exact = False
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
