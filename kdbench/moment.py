"""A moment of this machine: how busy, how fast and how warm it is, read from the system while something is measured."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.noise import ticks
from kdbench.told import ROOT, read

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Moment:
    """What the system says of itself at one moment; None where it does not tell.

    ``seconds``: a clock that only goes forward. ``ours_s``: what this process and those that it has waited for took of
    all cores so far. ``busy_s`` and ``stolen_s``: for how long something ran on a core, and for how long something
    could have if a hypervisor had not given the core to others, in seconds of cores since the start. ``load``:
    processes that ran or waited, over the last minute. ``mhz``: the fastest core's clock. ``celsius``: the warmest
    thermal zone.
    """

    seconds: float
    ours_s: float
    busy_s: float | None
    stolen_s: float | None
    load: float | None
    mhz: float | None
    celsius: float | None


def moment(root: Path = ROOT) -> Moment:
    """What the system says now; ``root`` is where /proc and /sys are."""
    counted = ticks(root)
    per_second = os.sysconf("SC_CLK_TCK")
    load = re.match(r"[\d.]+", read(root, "proc/loadavg"))
    return Moment(
        seconds=time.monotonic(),
        ours_s=sum(os.times()[:4]),
        # user nice system idle iowait irq softirq steal
        busy_s=sum(counted[place] for place in (0, 1, 2, 5, 6)) / per_second if counted else None,
        stolen_s=counted[7] / per_second if counted else None,
        load=float(load[0]) if load else None,
        mhz=_mhz(root),
        celsius=_celsius(root),
    )


def stolen_between(first: Moment, last: Moment) -> float | None:
    """Of the time that all cores had something to run, the share that was stolen."""
    if first.busy_s is None or first.stolen_s is None or last.busy_s is None or last.stolen_s is None:
        return None
    stolen = last.stolen_s - first.stolen_s
    wanted = last.busy_s - first.busy_s + stolen
    return stolen / wanted if wanted > 0 else 0.0


def others_between(first: Moment, last: Moment) -> float | None:
    """How many cores other work than ours kept busy, on average."""
    seconds = last.seconds - first.seconds
    if first.busy_s is None or last.busy_s is None or seconds <= 0:
        return None
    return max((last.busy_s - first.busy_s - (last.ours_s - first.ours_s)) / seconds, 0.0)


def _mhz(root: Path) -> float | None:
    """The clock as the kernel sets it, else as /proc/cpuinfo has it: in a virtual machine that one never moves."""
    places = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    words = [read(root, str(place.relative_to(root))).strip() for place in places]
    if told := [int(word) / 1000 for word in words if word.isdigit()]:
        return max(told)
    told = [float(word) for word in re.findall(r"^cpu MHz\s*:\s*(\d+\.?\d*)", read(root, "proc/cpuinfo"), re.MULTILINE)]
    return max(told, default=None)


def _celsius(root: Path) -> float | None:
    places = root.glob("sys/class/thermal/thermal_zone*/temp")
    words = [read(root, str(place.relative_to(root))).strip() for place in places]
    return max((int(word) / 1000 for word in words if re.fullmatch(r"-?\d+", word)), default=None)
