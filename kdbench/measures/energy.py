"""Energy: what an inference takes beyond what the idle machine takes, where a meter tells; otherwise nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from kdbench.devices.job import PROGRAM, Interleave, Program, alone
from kdbench.measures.latency import of_speed
from kdbench.meters import MeterError

if TYPE_CHECKING:
    from kdbench.devices.device import Device
    from kdbench.measures.measure import Evidence, Figure
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.meters import Meter, Window
    from kdbench.spec import Protocol

WINDOW_S = 5.0
"""How long the machine is left idle, twice, and how long the program runs."""

_BLOCK_NS = 10_000_000


class Energy:
    """Energy of an inference, idle subtracted."""

    metrics: ClassVar[tuple[str, ...]] = ("energy_mj",)
    needs: ClassVar[tuple[str, ...]] = ("speed",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figure of the program's structure."""
        return of_speed(evidence, self.metrics)


def energy_mj(device: Device, program: SpeedProgram, meter: Meter, protocol: Protocol) -> Figure:
    """Millijoules of an inference, or why they cannot be told.

    Four windows: idle; a process that loads the program and runs it twice; one that runs it for ``WINDOW_S``; idle.

    Raises:
        StageError: a process failed.
    """
    counts: list[int] = []

    def run(nanoseconds: int) -> None:
        block = min(nanoseconds, _BLOCK_NS)
        # The first inference of a process is apart from the others.
        step = Interleave((PROGRAM,), {PROGRAM: PROGRAM}, 0, 0, 1, nanoseconds, 2 * nanoseconds + 1, block, seed=0)
        job = alone(
            Program(PROGRAM, program.path, program.method),
            program.inputs,
            step,
            threads=protocol.threads,
            pin=protocol.pin,
            timeout_s=protocol.timeout_seconds + 2 * WINDOW_S,
        )
        counts.append(len(device.run(job).samples[PROGRAM]))

    try:
        idle = meter.during(lambda: time.sleep(WINDOW_S))
        start = meter.during(lambda: run(0))
        busy = meter.during(lambda: run(int(WINDOW_S * 1e9)))
        later = meter.during(lambda: time.sleep(WINDOW_S))
    except MeterError as error:
        return str(error)
    return per_inference(idle, start, busy, later, counts[1] - counts[0])


def per_inference(idle: Window, start: Window, busy: Window, later: Window, inferences: int) -> Figure:
    """Millijoules of one of ``inferences`` that ``busy`` has more than ``start``, or why they cannot be told.

    Idle power is the mean of ``idle`` and ``later``. What the program takes must be more than what their difference
    comes to over the same time, or the figure would be the machine's own unrest.
    """
    powers = [window.joules / window.seconds for window in (idle, later)]
    seconds = busy.seconds - start.seconds
    taken = busy.joules - start.joules - sum(powers) / 2 * seconds
    unrest = abs(powers[1] - powers[0]) * max(seconds, 0.0)
    if inferences < 1 or taken <= unrest:
        return f"the program took {taken:.3g} J, no more than idle power changed by meanwhile ({unrest:.3g} J)"
    return taken / inferences * 1000
