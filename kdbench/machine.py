"""The machine a run was measured on, told without the names of hosts or people."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from kdbench.records import Machine

LIBRARIES = ("kdbench", "torch", "executorch", "torchao", "numpy", "scikit-learn")
"""The packages whose versions a run records."""


def cpu_name() -> str:
    """The processor's name as its maker gives it."""
    if platform.system() == "Darwin":
        told = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout.strip() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    for key in ("model name", "Model", "Hardware", "CPU part"):
        match = re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(simd: str = "") -> Machine:
    """The facts that figures are compared by. ``simd`` is the instruction set that torch chose."""
    cpu = cpu_name()
    cores = os.cpu_count() or 1
    memory = psutil.virtual_memory().total
    facts = (platform.system(), platform.machine(), cpu, cores, memory >> 30, simd)
    name = re.sub(r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*$", " ", cpu, flags=re.IGNORECASE)
    slug = "-".join(re.findall(r"[a-z0-9]+", f"{name} {platform.system()} {platform.machine()}".lower()))
    return Machine(
        slug=slug,
        fingerprint=hashlib.sha256(repr(facts).encode()).hexdigest(),
        system=platform.system(),
        architecture=platform.machine(),
        cpu=cpu,
        cores=cores,
        memory_bytes=memory,
        simd=simd,
        python=platform.python_version(),
    )


def libraries() -> dict[str, str]:
    """The versions of the packages that decide figures."""
    return {name: version(name) for name in LIBRARIES}


def commit() -> tuple[str, bool]:
    """The git commit of the working directory and whether it has uncommitted changes; ("", False) outside git."""
    try:
        head = _git("rev-parse", "HEAD")
        return head.strip(), bool(_git("status", "--porcelain").strip())
    except (OSError, subprocess.CalledProcessError):
        return "", False


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout
