"""Paced latency: an inference every so often, as apps do, in fresh processes of one program and the reference.

Between inferences clocks fall and caches cool, so that it is longer than back to back (TensorFlow's issue 48190).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdbench.devices.job import Input, Job, Load, Pace, Program
from kdbench.measures.latency import absent
from kdbench.measures.timing_job import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.devices.job import Series
    from kdbench.measures.measure import Figure
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.spec import Protocol

NAME = "program"

LATE = 0.1
"""An inference that begins more than this share of the period after it was due is late."""


def measure_paced(
    device: Device,
    program: SpeedProgram,
    reference: SpeedProgram | None,
    protocol: Protocol,
    tell: Callable[[str], None] = lambda _text: None,
) -> tuple[list[Series], list[Series]]:
    """What the program made in each process, and what the reference made there, where there is one.

    Raises:
        StageError: a process failed.
    """
    job = paced_job(program, reference, protocol)
    found = []
    for process in range(protocol.processes):
        tell(f"every {protocol.every_ms:g} ms: process {process + 1} of {protocol.processes}")
        found.append(device.run(job).series)
    return [series[NAME] for series in found], [series[REFERENCE] for series in found] if reference else []


def paced_job(program: SpeedProgram, reference: SpeedProgram | None, protocol: Protocol) -> Job:
    """What a process does: it paces the program, then the reference.

    Each makes as many inferences as the protocol has them at least, for as long as it has them at least. Where they are
    longer than the period they may take ``max_seconds`` more than is due.
    """
    assert protocol.every_ms
    entries = {NAME: program, **({REFERENCE: reference} if reference else {})}
    period = round(protocol.every_ms * 1e6)
    runs = max(protocol.min_runs, -(-round(protocol.min_seconds * 1e9) // period))
    longest = runs * period + round(protocol.max_seconds * 1e9)
    return Job(
        programs=tuple(Program(name, each.path, each.method) for name, each in entries.items()),
        inputs=tuple(Input(name, each.inputs) for name, each in entries.items()),
        steps=tuple(step for name in entries for step in (Load(name), Pace(name, name, period, runs, longest))),
        threads=protocol.threads,
        pin=protocol.pin,
        timeout_s=protocol.timeout_seconds + len(entries) * longest / 1e9,
    )


def paced(processes: Sequence[Series], ruler: Sequence[Series], every_ms: float, steady_ms: float) -> dict[str, Figure]:
    """The metrics of ``PACED`` from the inferences of each process; quantiles are of all of them.

    ``ruler``: those of the reference program in the same processes, or nothing. The first inference of a process
    cannot be late, so it is not counted among those that are or are not.
    """
    taken = np.concatenate([series.taken for series in processes])
    p50, p90 = (float(q) / 1e6 for q in np.percentile(taken, (50, 90), method="linear"))
    period = every_ms * 1e6
    late = np.concatenate([_lateness(series, period)[1:] > LATE * period for series in processes])
    pairs = zip(processes, ruler, strict=True) if ruler else ()
    ratios = [float(np.median(series.taken) / np.median(other.taken)) for series, other in pairs]
    return {
        "latency_paced_ms": p50,
        "latency_paced_p90_ms": p90,
        "latency_paced_ref": float(np.median(ratios)) if ratios else absent(0)["latency_ref"],
        "paced_slowdown": p50 / steady_ms,
        "paced_late": float(late.mean()) if len(late) else "each process made one inference, which cannot be late",
    }


def _lateness(series: Series, period: float) -> NDArray[np.float64]:
    """How long after it was due each inference began, in ns. Of a long series every second, fourth ... is kept."""
    stride = -(-series.runs // len(series.began))
    lateness: NDArray[np.float64] = series.began - np.arange(len(series.began)) * stride * period
    return lateness
