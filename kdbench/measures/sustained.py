"""Sustained latency: one program back to back for minutes, in one process, and what it comes to as the device heats up.

A phone's ranking of programs in the first minute is not that in the thirtieth, since it throttles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdbench.devices.job import PROGRAM, Pace, Program, alone
from kdbench.measures.latency import SUSTAINED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.devices.job import Series
    from kdbench.measures.measure import Figure
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.spec import Protocol

WINDOWS = 60
"""How many equal windows of time a run is shown in, at most."""

LEAST = 20
"""A tenth of fewer inferences rests on less than two."""

_ENDLESS = 10**15


def measure_sustained(device: Device, program: SpeedProgram, protocol: Protocol) -> Series:
    """What a process made that ran the program for ``protocol.sustained_s`` seconds.

    Raises:
        StageError: the process failed.
    """
    assert protocol.sustained_s
    job = alone(
        Program(PROGRAM, program.path, program.method),
        program.inputs,
        Pace(PROGRAM, PROGRAM, period_ns=0, runs=_ENDLESS, max_ns=round(protocol.sustained_s * 1e9)),
        threads=protocol.threads,
        pin=protocol.pin,
        timeout_s=protocol.timeout_seconds + protocol.sustained_s,
    )
    return device.run(job).series[PROGRAM]


def sustained(series: Series) -> dict[str, Figure]:
    """The metrics of ``SUSTAINED``: of the inferences that began in the last tenth of the run and in its first."""
    if series.runs < LEAST:
        return dict.fromkeys(SUSTAINED, f"needs {LEAST} inferences, there were {series.runs}")
    tenths = _windows(series, 10)
    first, last = (float(np.median(series.taken[tenths == place])) for place in (0, 9))
    return {"latency_sustained_ms": last / 1e6, "sustained_slowdown": last / first}


def over_time(series: Series) -> tuple[float, ...]:
    """The median in ms of the inferences that began in each of up to ``WINDOWS`` equal windows of time.

    There are fewer where a window would be shorter than the longest wait between two inferences.
    """
    span = int(series.began[-1])
    longest = int(np.diff(series.began).max(initial=1))
    count = min(WINDOWS, max(1, span // longest))
    windows = _windows(series, count)
    return tuple(float(np.median(series.taken[windows == place])) / 1e6 for place in range(count))


def _windows(series: Series, count: int) -> NDArray[np.int64]:
    """In which of ``count`` equal windows of time each inference began: int64 [kept]."""
    found: NDArray[np.int64] = np.minimum(series.began * count // max(int(series.began[-1]), 1), count - 1)
    return found
