"""Timing jobs: what one process does to time programs and a reference program in turns, and which program breaks it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.devices.device import Remote
from kdbench.devices.job import Input, Interleave, Job, Load, Program
from kdbench.errors import StageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.spec import Protocol

REFERENCE = "reference"
AGAIN = "reference again"
CHECK = " check"


@dataclass(frozen=True, slots=True)
class SpeedProgram:
    """A program to time on ``inputs`` (each [items, *shape]); ``check`` is another of the same structure.

    ``calls``: the backends and operators that it calls, where they are known.
    """

    path: Path
    inputs: tuple[NDArray[np.generic], ...]
    method: str = "forward"
    check: Path | None = None
    calls: tuple[str, ...] = ()


def check_protocol(device: Device, protocol: Protocol) -> None:
    """Nothing, when the device can do as the protocol says. One that counts has no load times to be cold.

    Raises:
        UsageError: it cannot.
    """
    if protocol.cold_cache and isinstance(device, Remote):
        raise UsageError(f"cold_cache: {device.name} runs fresh copies of the programs; only the host has them cold")


def timing_job(
    programs: Mapping[str, SpeedProgram],
    reference: SpeedProgram | None,
    protocol: Protocol,
    process: int,
) -> Job:
    """What process number ``process`` does: load all programs, their checks and the reference, and time them in turns.

    Their samples come back under the programs' names, those of a check with ``CHECK`` after it; ``REFERENCE`` is the
    reference's, and ``AGAIN`` that of a second copy of it: what a process makes of no difference.
    """
    entries: dict[str, tuple[Path, SpeedProgram]] = {
        name: (program.path, program) for name, program in programs.items()
    }
    entries |= {name + CHECK: (program.check, program) for name, program in programs.items() if program.check}
    if reference is not None:
        entries |= dict.fromkeys((REFERENCE, AGAIN), (reference.path, reference))
    names = list(entries)
    seed = protocol.seed * 1_000_003 + process
    random.Random(seed).shuffle(names)  # noqa: S311 - the order of loading, nothing secret
    nanoseconds = 1_000_000_000
    timed = Interleave(
        programs=tuple(names),
        inputs={name: _fed(name) for name in names},
        warmup_runs=protocol.warmup_runs,
        warmup_ns=int(protocol.warmup_seconds * nanoseconds),
        min_runs=protocol.min_runs,
        min_ns=int(protocol.min_seconds * nanoseconds),
        max_ns=int(protocol.max_seconds * nanoseconds),
        block_ns=int(protocol.block_ms * 1_000_000),
        seed=seed,
    )
    return Job(
        programs=tuple(Program(name, path, program.method) for name, (path, program) in entries.items()),
        inputs=tuple(Input(name, program.inputs) for name, (_, program) in entries.items() if _fed(name) == name),
        steps=(*(Load(name) for name in names), timed),
        threads=protocol.threads,
        pin=protocol.pin,
        cold=protocol.cold_cache,
        # A slow program may warm up and run up to its cap; the timeout is for what does not end by itself.
        timeout_s=protocol.timeout_seconds + 2 * protocol.max_seconds * len(entries),
    )


def culprits(
    device: Device,
    programs: Mapping[str, SpeedProgram],
    reference: SpeedProgram | None,
    protocol: Protocol,
) -> dict[str, StageError]:
    """Of programs whose joint process failed, those that fail alone too, on a short run."""
    short = protocol.model_copy(
        update={"warmup_runs": 1, "warmup_seconds": 0.0, "min_runs": 1, "min_seconds": 0.0, "max_seconds": 0.0},
    )
    broken: dict[str, StageError] = {}
    for name, program in programs.items():
        try:
            device.run(timing_job({name: program}, reference, short, 0))
        except StageError as error:
            broken[name] = error
    return broken


def _fed(name: str) -> str:
    """Whose items a program is fed: a second one has the first one's."""
    return REFERENCE if name == AGAIN else name.removesuffix(CHECK)
