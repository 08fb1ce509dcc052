"""Noise: what of this machine disturbs figures, read from the system, and an A/A test that shows how much."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

from kdbench.devices.job import Input, Interleave, Job, Load, Program
from kdbench.finding import Finding
from kdbench.machine import cpu_name
from kdbench.told import ROOT, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.devices.device import Device

PROCESSES = 6
"""Fresh processes of an A/A test."""

CALM = 0.05
"""A spread between processes that figures can live with."""

_SIMD = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True, slots=True)
class Spread:
    """What an A/A test saw: one program timed against itself.

    ``median_ms``: of each fresh process. ``between``: the largest of these over the smallest, minus 1. ``within``: the
    largest difference, as a share, between two copies of the program interleaved in one process.
    """

    median_ms: tuple[float, ...]
    between: float
    within: float


def surroundings(root: Path = ROOT) -> list[Finding]:
    """What of this machine decides or disturbs figures; ``root`` is where /proc and /sys are."""
    return [
        _processor(root),
        _cores(root),
        _governor(root),
        _turbo(root),
        _virtual(root),
        _load(),
        _swap(),
    ]


def spread(device: Device, program: Path, inputs: tuple[NDArray[np.generic], ...]) -> Spread:
    """One program timed as two copies, interleaved, in ``PROCESSES`` fresh processes: about 2 s.

    Raises:
        StageError: the program does not run on the device.
    """
    medians = []
    for process in range(PROCESSES):
        copies = ("a", "b")
        timed = Interleave(
            programs=copies,
            inputs=dict.fromkeys(copies, "items"),
            warmup_runs=10,
            warmup_ns=20_000_000,
            min_runs=50,
            min_ns=100_000_000,
            max_ns=1_000_000_000,
            block_ns=4_000_000,
            seed=process,
        )
        job = Job(
            programs=tuple(Program(name, program) for name in copies),
            inputs=(Input("items", inputs),),
            steps=(*(Load(name) for name in copies), timed),
        )
        samples = device.run(job).samples
        medians.append([float(np.median(samples[name])) / 1e6 for name in copies])
    return spread_of(medians)


def spread_of(medians: Sequence[Sequence[float]]) -> Spread:
    """The figures of ``Spread`` from medians in ms: [processes][two copies]."""
    table = np.array(medians)
    first = table[:, 0]
    return Spread(
        median_ms=tuple(first.tolist()),
        between=float(first.max() / first.min() - 1),
        within=float(np.abs(table[:, 1] / first - 1).max()),
    )


def verdict(found: Spread, stolen: float) -> Finding:
    """What an A/A test says of figures taken here; ``stolen`` is the share of time that a hypervisor took meanwhile."""
    between, within = (max(math.ceil(round(share * 1000, 6)) / 10, 0.1) for share in (found.between, found.within))
    said = (
        f"{len(found.median_ms)} processes of one program of {np.median(found.median_ms) * 1000:.1f} us spread over "
        f"{between:.1f} %, two copies in one process over {within:.1f} %: differences under {between:.1f} % cannot be "
        f"trusted here (x ref: {within:.1f} %)"
    )
    if stolen >= 0.01:
        said += f"; {stolen:.0%} of the time was stolen by other virtual machines"
    calm = found.between <= CALM and stolen < 0.01
    hint = "" if calm else "stop what else runs here, or raise [protocol] processes; judge by exact facts and x ref"
    return Finding("noise", "A/A", "ok" if calm else "warn", said, hint)


def cpu_times(root: Path = ROOT) -> tuple[int, int]:
    """Ticks since the start of all cores, and those of them that were stolen; (0, 0) where that is not told."""
    counted = ticks(root)
    return (sum(counted), counted[7]) if counted else (0, 0)


def ticks(root: Path = ROOT) -> tuple[int, ...]:
    """Ticks since the start of all cores: user, nice, system, idle, iowait, irq, softirq, steal; () if not told."""
    match = re.search(r"^cpu +(.+)$", read(root, "proc/stat"), re.MULTILINE)
    counted = tuple(int(word) for word in match[1].split()) if match else ()
    # Guest times after the eight are counted in user already.
    return counted[:8] if len(counted) >= 8 else ()


def stolen_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The share of all cores' time between two readings of ``cpu_times`` that was stolen."""
    total = after[0] - before[0]
    return (after[1] - before[1]) / total if total > 0 else 0.0


def _processor(root: Path) -> Finding:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", read(root, "proc/cpuinfo"), re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    simd = [name for name in _SIMD if name in flags]
    said = f"{cpu_name()}; {', '.join(simd) or 'instruction sets not told'}"
    slow = bool(flags) and not flags & _BF16
    hint = "no bf16 instructions: recipes with precision = 'bf16' train slowly here" if slow else ""
    return Finding("machine", "processor", "ok", said, hint)


def _cores(root: Path) -> Finding:
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    quota, memory = limits(root)
    said = f"{cores}, {usable} usable, {psutil.virtual_memory().total / 2**30:.1f} GiB of memory"
    said += f"; limited to {quota:.2g} cores" if quota else ""
    said += f"; limited to {memory / 2**30:.1f} GiB" if memory else ""
    if quota and quota < usable:
        hint = "a quota stops processes in the middle of a measurement; give the container whole cores"
        return Finding("machine", "cores", "warn", said, hint)
    return Finding("machine", "cores", "ok", said)


def limits(root: Path = ROOT) -> tuple[float | None, int | None]:
    """What this process's control groups grant it: cores, and bytes of memory; None where there is no limit."""
    cores: float | None = None
    memory: int | None = None
    for group in _groups(root):
        quota, _, period = read(root, f"{group}/cpu.max").partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            granted = int(quota) / int(period)
            cores = granted if cores is None else min(cores, granted)
        most = read(root, f"{group}/memory.max").strip()
        if most.isdigit():
            memory = int(most) if memory is None else min(memory, int(most))
    old = [read(root, f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if cores is None and all(word.isdigit() for word in old):  # version 1 says -1 where there is no quota
        cores = int(old[0]) / int(old[1])
    return cores, memory


def _groups(root: Path) -> list[str]:
    """The folders of this process's version 2 control group and of those around it."""
    match = re.search(r"^0::/(.*)$", read(root, "proc/self/cgroup"), re.MULTILINE)
    parts = match[1].split("/") if match and match[1] else []
    return ["/".join(["sys/fs/cgroup", *parts[:depth]]) for depth in range(len(parts) + 1)]


def governor(root: Path = ROOT) -> str:
    """What sets the cores' clocks, joined by commas where they differ; empty where it cannot be read."""
    places = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({read(root, str(place.relative_to(root))).strip() for place in places} - {""}))


def _governor(root: Path) -> Finding:
    found = governor(root)
    if not found:
        hint = "clocks cannot be seen here, as in most virtual machines; trust the A/A line"
        return Finding("noise", "governor", "warn", "not readable", hint)
    if found == "performance":
        return Finding("noise", "governor", "ok", found)
    hint = "clocks follow the load; sudo cpupower frequency-set -g performance"
    return Finding("noise", "governor", "warn", found, hint)


def _turbo(root: Path) -> Finding:
    off = {"sys/devices/system/cpu/intel_pstate/no_turbo": "1", "sys/devices/system/cpu/cpufreq/boost": "0"}
    for place, value in off.items():
        if said := read(root, place).strip():
            if said == value:
                return Finding("noise", "turbo", "ok", "off")
            hint = "clocks fall as the chip warms up; turn it off to compare runs"
            return Finding("noise", "turbo", "warn", "on", hint)
    return Finding("noise", "turbo", "ok", "not readable")


def _virtual(root: Path) -> Finding:
    kinds = []
    if re.search(r"^flags\s*:.*\bhypervisor\b", read(root, "proc/cpuinfo"), re.MULTILINE):
        kinds.append("virtual machine")
    if any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        kinds.append("container")
    total, stolen = cpu_times(root)
    said = " in a ".join(reversed(kinds)) or "not seen"
    said += f"; {stolen / total:.1%} of all time since the start was stolen" if total else ""
    if not kinds:
        return Finding("noise", "virtualisation", "ok", said)
    return Finding("noise", "virtualisation", "warn", said, "neighbours share caches and clocks; trust the A/A line")


def _load() -> Finding:
    load = os.getloadavg()[0]
    if load < 0.5:
        return Finding("noise", "load", "ok", f"{load:.2f} over the last minute")
    hint = "something else runs, or ran until now; wait or stop it before you measure"
    return Finding("noise", "load", "warn", f"{load:.2f} over the last minute", hint)


def _swap() -> Finding:
    swap, memory = psutil.swap_memory(), psutil.virtual_memory()
    said = f"{swap.used / 2**30:.1f} GiB used, {memory.available / 2**30:.1f} GiB of memory free"
    if swap.used > 0.1 * memory.total:
        return Finding("noise", "swap", "warn", said, "what was swapped out comes back in the middle of a measurement")
    return Finding("noise", "swap", "ok", said)
