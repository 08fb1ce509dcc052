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
    return named_in(text) or platform.processor() or platform.machine()


def named_in(cpuinfo: str) -> str:
    """The processor's name in the text of ``/proc/cpuinfo``, empty if it has none."""
    for key in ("model name", "Model", "Hardware", "CPU part"):
        match = re.search(rf"^{key}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
        if match:
            return match[1].strip()
    return ""


def slug(cpu: str, *words: str) -> str:
    """A processor's name and what is said besides as one word, without marks, speeds and the word processor itself."""
    name = re.sub(r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*$", " ", cpu, flags=re.IGNORECASE)
    return "-".join(re.findall(r"[a-z0-9]+", " ".join([name, *words]).lower()))


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(simd: str = "") -> Machine:
    """The facts that figures are compared by. ``simd`` is the instruction set that torch chose."""
    cpu = cpu_name()
    cores = os.cpu_count() or 1
    memory = psutil.virtual_memory().total
    facts = (platform.system(), platform.machine(), cpu, cores, memory >> 30, simd)
    return Machine(
        slug=slug(cpu, platform.system(), platform.machine()),
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
