"""Meters: what tells the energy that is taken while something runs; one that cannot is an error, never a guess."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from kdbench.errors import MeasureError
from kdbench.told import ROOT, read

if TYPE_CHECKING:
    from collections.abc import Callable

MeterName = Literal["", "rapl", "meter"]

LOG_VARIABLE = "KDBENCH_METER"
"""Names the file that the software of a power meter writes to."""

_HEADING = "seconds,watts"
_PATIENCE_S = 5.0


class MeterError(MeasureError):
    """A meter is not here, not for us, or does not tell: the reason why there is no figure of energy."""


@dataclass(frozen=True, slots=True)
class Window:
    """The energy of a stretch of time."""

    joules: float
    seconds: float


class Meter(Protocol):
    """Tells the energy of a stretch of time."""

    def during(self, work: Callable[[], None]) -> Window:
        """Do ``work``, and what was taken meanwhile.

        Raises:
            MeterError: the meter does not tell.
            Whatever ``work`` raises.
        """
        ...


def meter(name: MeterName) -> Meter:
    """The meter called ``rapl``, this machine's own, or ``meter``, whose log ``KDBENCH_METER`` names.

    Raises:
        MeterError: it is not here, or not for us.
    """
    return Rapl() if name == "rapl" else Log(os.environ.get(LOG_VARIABLE, ""))


class Rapl:
    """The energy counters of the processor packages (Intel and AMD), as Linux shows them in /sys/class/powercap.

    A package counts all its cores and caches, in microjoules, and starts anew at ``max_energy_range_uj``; memory beside
    it and the rest of the machine are not in it. ``root`` is where /sys is.

    Raises:
        MeterError: there are none, or they are not for us.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        zones = sorted(path.relative_to(root) for path in root.glob("sys/class/powercap/intel-rapl:*"))
        # Others are a part of a package (core, dram), or more than a processor (psys).
        self._zones = [zone for zone in zones if read(root, f"{zone}/name").startswith("package")]
        if not self._zones:
            raise MeterError("no processor here tells its energy: /sys/class/powercap has no intel-rapl package")
        self._ranges = [self._number(zone, "max_energy_range_uj") for zone in self._zones]
        self._counters()

    def during(self, work: Callable[[], None]) -> Window:
        """See ``Meter.during``; a window must be shorter than a counter takes to start anew, a minute at least."""
        before, start = self._counters(), time.monotonic()
        work()
        after, end = self._counters(), time.monotonic()
        taken = [(b - a) % (most + 1) for a, b, most in zip(before, after, self._ranges, strict=True)]
        return Window(sum(taken) / 1e6, end - start)

    def _counters(self) -> list[int]:
        return [self._number(zone, "energy_uj") for zone in self._zones]

    def _number(self, zone: Path, name: str) -> int:
        said = read(self._root, f"{zone}/{name}").strip()
        if not said.isdigit():
            raise MeterError(f"/{zone}/{name} cannot be read, as is usual for others than root; sudo chmod a+r it")
        return int(said)


class Log:
    """The log that the software of a power meter writes while we measure: ``seconds,watts``, a line a reading.

    Seconds are Unix time on this machine's clock. Between readings power is taken to change evenly.

    Raises:
        MeterError: no log is named.
    """

    def __init__(self, path: str) -> None:
        if not path:
            raise MeterError(f"no meter is named: {LOG_VARIABLE} is the CSV file (seconds,watts) that it writes to")
        self._path = Path(path)

    def during(self, work: Callable[[], None]) -> Window:
        """See ``Meter.during``; the log may be a few seconds late."""
        start = time.time()
        work()
        end = time.time()
        deadline = time.monotonic() + _PATIENCE_S
        readings = self._readings()
        while readings[-1][0] < end and time.monotonic() < deadline:
            time.sleep(0.2)
            readings = self._readings()
        return Window(energy(readings, start, end), end - start)

    def _readings(self) -> list[tuple[float, float]]:
        try:
            # Without a line that is only half written yet.
            head, *lines = self._path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines() or [""]
            words = [line.split(",") for line in lines]
            readings = [(float(seconds), float(watts)) for seconds, watts in words]
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise MeterError(f"the log that {LOG_VARIABLE} names cannot be read: {why}") from None
        if not all(math.isfinite(number) for reading in readings for number in reading):
            raise MeterError(f"the log that {LOG_VARIABLE} names has a reading that is no finite number")
        if head.strip() != _HEADING or not readings:
            raise MeterError(f"the log that {LOG_VARIABLE} names has no readings below a line {_HEADING}")
        return readings


def energy(readings: list[tuple[float, float]], start: float, end: float) -> float:
    """The joules from ``start`` to ``end``, of readings of (seconds, watts) that surround both.

    Raises:
        MeterError: they do not, or go backwards.
    """
    times = [seconds for seconds, _ in readings]
    if times != sorted(times):
        raise MeterError(f"the log that {LOG_VARIABLE} names goes backwards in time")
    if times[0] > start or times[-1] < end:
        raise MeterError(f"the log that {LOG_VARIABLE} names does not reach from the start to the end of a window")
    joules = 0.0
    for (a, watts_a), (b, watts_b) in pairwise(readings):
        low, high = max(a, start), min(b, end)
        if low >= high:
            continue
        slope = (watts_b - watts_a) / (b - a)
        joules += (high - low) * (watts_a + slope * ((low + high) / 2 - a))
    return joules
