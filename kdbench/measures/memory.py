"""Memory: what a program adds to the runner's, and the bytes of the libraries that run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kdbench.devices.job import PROGRAM, Interleave, Job, Program, alone
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
"""Inferences, after the first, before memory is read: the first ones take what later ones reuse."""


class Memory:
    """Resident memory: of the runner with the program, minus without; the runtime beside the program."""

    metrics: ClassVar[tuple[str, ...]] = ("peak_rss_bytes", "rss_anon_bytes", "rss_file_bytes", "runtime_bytes")
    needs: ClassVar[tuple[str, ...]] = ("speed",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figures of the program's structure."""
        return of_speed(evidence, self.metrics)


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes of a runner, each the minimum over fresh processes: what disturbs a process only adds.

    ``peak``: resident at most; ``anonymous`` and ``file``: resident at its end, of no file (weights that a backend
    packs, workspaces, planned memory) and of files (the program, libraries). None where the system does not tell.
    """

    peak: int
    anonymous: int | None
    file: int | None

    def over(self, empty: Resident) -> dict[str, float | None]:
        """By metric, what this runner has more than ``empty`` has, at least 0."""
        return {
            "peak_rss_bytes": _more(self.peak, empty.peak),
            "rss_anon_bytes": _more(self.anonymous, empty.anonymous),
            "rss_file_bytes": _more(self.file, empty.file),
        }


def with_program(
    device: Device, path: Path, method: str, inputs: tuple[NDArray[np.generic], ...], protocol: Protocol
) -> Resident:
    """The memory of a runner that has loaded the program and run it a few times.

    Raises:
        StageError: a process failed.
    """
    first = tuple(array[:1] for array in inputs)
    runs = Interleave((PROGRAM,), {PROGRAM: PROGRAM}, 0, 0, _RUNS, 0, 10**15, 1, seed=0)
    full = alone(
        Program(PROGRAM, path, method),
        first,
        runs,
        Reading("end"),
        threads=protocol.threads,
        timeout_s=protocol.timeout_seconds,
    )
    return _least(device, full, protocol)


def without_program(device: Device, protocol: Protocol) -> Resident:
    """The memory of a runner that loads nothing.

    Raises:
        StageError: a process failed.
    """
    job = Job((), (), (Reading("end"),), threads=protocol.threads, timeout_s=protocol.timeout_seconds)
    return _least(device, job, protocol)


def _least(device: Device, job: Job, protocol: Protocol) -> Resident:
    results = [device.run(job) for _ in range(protocol.memory_processes)]
    return Resident(
        peak=min(result.peak_rss_bytes["end"] for result in results),
        anonymous=min((result.anonymous_bytes["end"] for result in results if result.anonymous_bytes), default=None),
        file=min((result.file_bytes["end"] for result in results if result.file_bytes), default=None),
    )


def _more(full: int | None, empty: int | None) -> float | None:
    return None if full is None or empty is None else float(max(full - empty, 0))
