"""Memory: what a program adds to the peak resident memory of the runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kdbench.devices.job import Input, Interleave, Job, Load, Program
from kdbench.devices.job import Memory as Reading
from kdbench.measures.latency import of_speed

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.measures.measure import Evidence, Figure
    from kdbench.spec import Protocol

_RUNS = 3
"""Inferences before the peak is read: the first ones take what later ones reuse."""


class Memory:
    """Peak resident memory: of the runner with the program, minus without."""

    metrics: ClassVar[tuple[str, ...]] = ("peak_rss_bytes",)
    needs: ClassVar[tuple[str, ...]] = ("speed",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figure of the program's structure."""
        return of_speed(evidence, self.metrics)


def peak_rss(
    device: Device,
    path: Path,
    method: str,
    inputs: tuple[NDArray[np.generic], ...],
    protocol: Protocol,
    empty: int,
) -> int:
    """Bytes that loading the program and running it a few times adds to ``empty`` (of ``empty_rss``), at least 0.

    Each side is the minimum over ``protocol.memory_processes`` fresh processes: what disturbs a process only adds.

    Raises:
        StageError: a process failed.
    """
    name = "program"
    first = tuple(array[:1] for array in inputs)
    runs = Interleave((name,), {name: name}, 0, 0, _RUNS, 0, 10**9, 1, seed=0)
    full = Job(
        programs=(Program(name, path, method),),
        inputs=(Input(name, first),),
        steps=(Load(name), runs, Reading("peak")),
        threads=protocol.threads,
        timeout_s=protocol.timeout_seconds,
    )
    return max(_least(device, full, protocol) - empty, 0)


def empty_rss(device: Device, protocol: Protocol) -> int:
    """The peak resident memory, in bytes, of a runner that loads nothing: the minimum over fresh processes.

    Raises:
        StageError: a process failed.
    """
    job = Job((), (), (Reading("peak"),), threads=protocol.threads, timeout_s=protocol.timeout_seconds)
    return _least(device, job, protocol)


def _least(device: Device, job: Job, protocol: Protocol) -> int:
    return min(device.run(job).peak_rss_bytes["peak"] for _ in range(protocol.memory_processes))
