"""What the Python runner sets and reads of its own process, core and memory: see ``runner/process.h``."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path


def pin(cpu: int) -> int:
    """The core that the process now keeps to, -1 if it keeps to none."""
    if cpu >= 0 and hasattr(os, "sched_setaffinity") and cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {cpu})
        return cpu
    return -1


def peak_rss_bytes() -> int:
    """What was resident at most."""
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> dict[str, int]:
    """What is resident of no file and of files, from the sums over all mappings; nothing where they are not told."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return {}
    found = {name: int(size) * 1024 for name, size in re.findall(r"^(Rss|Anonymous):\s*(\d+) kB", rollup, re.MULTILINE)}
    if len(found) < 2:
        return {}
    return {"anonymous": found["Anonymous"], "file": found["Rss"] - found["Anonymous"]}
