"""Instructions: what an inference executes, counted exactly, on devices that can count."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kdbench.devices.device import COUNTED
from kdbench.devices.job import PROGRAM, Interleave, Program, alone
from kdbench.errors import StageError
from kdbench.measures.latency import of_speed
from kdbench.records import Speed
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.devices.device import Counter
    from kdbench.devices.job import Job
    from kdbench.measures.measure import Evidence, Figure
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.spec import Protocol

ITEMS = 2
"""How many items a pass feeds: a program whose work hangs on its input shows in their mean."""

WARMUP = 2
"""Passes that are not counted: the first execute() packs, grows its workspace and binds its symbols."""

PASSES = 3
"""Counted passes, which must agree to the last instruction."""

ONE_THREAD = "instructions are counted with 1 thread, the protocol asks for {}"

_ENDLESS = 10**15


class Instructions:
    """Instructions of an inference: all, those of the vector unit, those that load or store. They are no latency."""

    metrics: ClassVar[tuple[str, ...]] = COUNTED
    needs: ClassVar[tuple[str, ...]] = ("speed",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figures of the program's structure."""
        return of_speed(evidence, self.metrics)


def counted(name: str, device: Counter, program: SpeedProgram, protocol: Protocol) -> Speed:
    """The counts of a structure called ``name``, and no times: ``reason`` says why there are none.

    Where there is a second program of the structure, ``checked_ratio`` is its instructions over the first's.

    Raises:
        StageError: a process failed, or the counts are not linear in the number of inferences.
    """
    reason, metrics, ratio = device.untimed, {}, None
    if protocol.threads == 1:
        metrics = _counts(device, program.path, program, protocol)
        if program.check:
            ratio = _counts(device, program.check, program, protocol)["instructions"] / metrics["instructions"]
    else:
        reason = ONE_THREAD.format(protocol.threads)
    return Speed(
        structure=name,
        device=device.name,
        runtime=device.runtime,
        threads=protocol.threads,
        program_sha256=file_sha256(program.path),
        samples=ITEMS * PASSES if metrics else 0,
        process_medians_ms=(),
        metrics={**dict.fromkeys(COUNTED), **metrics},
        checked_sha256=file_sha256(program.check) if ratio and program.check else "",
        checked_ratio=ratio,
        reason=reason,
    )


def per_inference(counts: NDArray[np.int64], items: int) -> dict[str, float]:
    """The counts of one inference by metric, from those of every execute(): int64 [executes, ``COUNTED``].

    A pass is ``items`` executes, one an item; the first ``WARMUP`` passes are left out.

    Raises:
        StageError: there are not as many as were asked for, or the passes differ: no figure would be one inference's.
    """
    expected = items * (WARMUP + PASSES)
    if len(counts) != expected:
        raise StageError(f"{len(counts)} inferences were counted, expected {expected}")
    passes = counts.reshape(WARMUP + PASSES, items, len(COUNTED)).sum(axis=1)[WARMUP:]
    if (passes != passes[0]).any():
        told = ", ".join(str(total) for total in passes[:, 0])
        raise StageError(
            f"instructions are not linear in the number of inferences: passes of {items} items took {told}"
        )
    return {metric: int(total) / items for metric, total in zip(COUNTED, passes[0], strict=True)}


def counting_job(
    path: Path, method: str, inputs: tuple[NDArray[np.generic], ...], timeout_s: float, threads: int = 1
) -> Job:
    """``WARMUP`` and ``PASSES`` passes over the items of ``inputs``, each [items, *shape]."""
    items = len(inputs[0])
    # The first inference is apart from the warm-up.
    runs = Interleave((PROGRAM,), {PROGRAM: PROGRAM}, items * WARMUP - 1, 0, items * PASSES, 0, _ENDLESS, 1, seed=0)
    return alone(Program(PROGRAM, path, method), inputs, runs, threads=threads, timeout_s=timeout_s)


def _counts(device: Counter, path: Path, program: SpeedProgram, protocol: Protocol) -> dict[str, float]:
    fed = tuple(array[:ITEMS] for array in program.inputs)
    job = counting_job(path, program.method, fed, protocol.timeout_seconds)
    return per_inference(device.count(job)[1], len(fed[0]))
