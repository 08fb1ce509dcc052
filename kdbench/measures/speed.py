"""Measuring speed: structures and a reference program interleaved, in several fresh processes."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kdbench.devices.device import Counter, Packaged
from kdbench.devices.job import Input, Interleave, Job, Load, Program, Result
from kdbench.devices.runner.runtime import runtime_libraries
from kdbench.errors import StageError
from kdbench.measures.instructions import counted
from kdbench.measures.latency import LEAST_FOR_P99
from kdbench.measures.memory import Resident, with_program, without_program
from kdbench.records import Speed
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.spec import Protocol

KEPT = 2000
"""Samples of one process that a record keeps, spread evenly; its statistics are of all of them."""

NOISY = 0.10
"""Process medians that spread further than this share of their median make a figure ``noisy``."""

REFERENCE = "reference"
_CHECK = " check"


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


@dataclass(frozen=True, slots=True)
class Timing:
    """The speed of a structure, and its samples: int32 ns by process, at most ``KEPT`` of each."""

    speed: Speed
    samples: tuple[NDArray[np.int32], ...] = ()


def measure_speeds(
    device: Device,
    programs: Mapping[str, SpeedProgram],
    reference: SpeedProgram | None,
    protocol: Protocol,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> dict[str, Timing]:
    """The speed of every structure on a device, by structure.

    In each of ``protocol.processes`` fresh processes all programs, their checks and the reference run interleaved, so
    that what disturbs one disturbs all; load order and block order are drawn anew. Memory has processes of its own. A
    program that cannot be measured gets the status and reason of its failure, and the rest go on without it. A device
    that counts instead of timing counts each structure.
    """
    if isinstance(device, Counter):
        timings = _counted(device, programs, protocol, tell)
    else:
        timings = _timed(device, programs, reference, protocol, tell)
    return {
        name: replace(timing, speed=_shipped(timing.speed, device, programs[name])) for name, timing in timings.items()
    }


def _timed(
    device: Device,
    programs: Mapping[str, SpeedProgram],
    reference: SpeedProgram | None,
    protocol: Protocol,
    tell: Callable[[float, str], None],
) -> dict[str, Timing]:
    rounds = protocol.processes + 1
    failed: dict[str, StageError] = {}
    results: list[Result] = []
    while len(results) < protocol.processes:
        tell(len(results) / rounds, f"process {len(results) + 1} of {protocol.processes}")
        healthy = {name: program for name, program in programs.items() if name not in failed}
        if not healthy:
            break
        try:
            results.append(device.run(timing_job(healthy, reference, protocol, len(results))))
        except StageError as error:
            broken = culprits(device, healthy, reference, protocol)
            failed |= broken or dict.fromkeys(healthy, error)
    timings = {}
    empty = Resident(0, None, None)
    if len(failed) < len(programs):
        try:
            empty = without_program(device, protocol)
        except StageError as error:
            failed = {name: failed.get(name, error) for name in programs}
    for done, (name, program) in enumerate(programs.items()):
        tell((protocol.processes + done / len(programs)) / rounds, "memory")
        if name in failed:
            timings[name] = Timing(_failure(name, device, program, protocol, failed[name]))
            continue
        try:
            timings[name] = _timing(name, program, device, results, protocol, empty, ruled=reference is not None)
        except StageError as error:
            timings[name] = Timing(_failure(name, device, program, protocol, error))
    return timings


def _counted(
    device: Counter,
    programs: Mapping[str, SpeedProgram],
    protocol: Protocol,
    tell: Callable[[float, str], None],
) -> dict[str, Timing]:
    timings = {}
    for done, (name, program) in enumerate(programs.items()):
        tell(done / len(programs), "instructions")
        try:
            timings[name] = Timing(counted(name, device, program, protocol))
        except StageError as error:
            timings[name] = Timing(_failure(name, device, program, protocol, error))
    return timings


@dataclass(frozen=True, slots=True)
class Steady:
    """What the samples of a program say: how many there are, each process's median, figures by metric, and doubts."""

    samples: int
    medians_ms: tuple[float, ...]
    metrics: dict[str, float | None]
    flags: tuple[str, ...]


def steady(processes: Sequence[NDArray[np.int64]], ruler: Sequence[NDArray[np.int64]], least: int) -> Steady:
    """The steady state of a program, from its samples in ns by process; quantiles are of all of them.

    ``ruler``: the reference program's samples in the same processes, or nothing where it was not timed there.
    ``least``: how many samples of a process are enough.
    """
    medians = np.array([np.median(samples) for samples in processes])
    pooled = np.concatenate(processes)
    p50, p90, p99 = (float(q) / 1e6 for q in np.percentile(pooled, (50, 90, 99), method="linear"))
    flags = []
    if any(len(samples) < least for samples in processes):
        flags.append("few-samples")
    if np.ptp(medians) > NOISY * np.median(medians):
        flags.append("noisy")
    ratios = [median / np.median(other) for median, other in zip(medians, ruler, strict=True)] if ruler else []
    metrics = {
        "latency_ms": p50,
        "latency_mean_ms": float(pooled.mean()) / 1e6,
        "latency_p90_ms": p90,
        "latency_p99_ms": p99 if len(pooled) >= LEAST_FOR_P99 else None,
        "latency_ref": float(np.median(ratios)) if ratios else None,
    }
    return Steady(len(pooled), tuple(float(median) / 1e6 for median in medians), metrics, tuple(flags))


def thinned(samples: NDArray[np.int64], most: int = KEPT) -> NDArray[np.int32]:
    """At most ``most`` of the samples [n] in their order, spread evenly, in ns; longer ones than 2.1 s read as that."""
    places = (
        np.arange(len(samples)) if len(samples) <= most else np.linspace(0, len(samples) - 1, most).round().astype(int)
    )
    kept: NDArray[np.int32] = np.minimum(samples[places], np.iinfo(np.int32).max).astype(np.int32)
    return kept


def timing_job(
    programs: Mapping[str, SpeedProgram],
    reference: SpeedProgram | None,
    protocol: Protocol,
    process: int,
) -> Job:
    """What process number ``process`` does: load all programs, their checks and the reference, and time them in turns.

    Their samples come back under the programs' names; ``REFERENCE`` is the reference's.
    """
    entries: dict[str, tuple[Path, SpeedProgram]] = {
        name: (program.path, program) for name, program in programs.items()
    }
    entries |= {name + _CHECK: (program.check, program) for name, program in programs.items() if program.check}
    if reference is not None:
        entries[REFERENCE] = (reference.path, reference)
    names = list(entries)
    seed = protocol.seed * 1_000_003 + process
    random.Random(seed).shuffle(names)  # noqa: S311 - the order of loading, nothing secret
    nanoseconds = 1_000_000_000
    timed = Interleave(
        programs=tuple(names),
        inputs={name: name.removesuffix(_CHECK) for name in names},
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
        inputs=tuple(
            Input(name, program.inputs) for name, (_, program) in entries.items() if not name.endswith(_CHECK)
        ),
        steps=(*(Load(name) for name in names), timed),
        threads=protocol.threads,
        pin=protocol.pin,
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


def _timing(
    name: str,
    program: SpeedProgram,
    device: Device,
    results: Sequence[Result],
    protocol: Protocol,
    empty: Resident,
    *,
    ruled: bool,
) -> Timing:
    processes = [result.samples[name] for result in results]
    figures = steady(processes, [result.samples[REFERENCE] for result in results] if ruled else [], protocol.min_runs)
    checks = [
        np.median(r.samples[name + _CHECK]) / np.median(r.samples[name]) for r in (results if program.check else ())
    ]
    loads = [(result.load_program_ns[name], result.load_method_ns[name]) for result in results]
    metrics = {
        **figures.metrics,
        "load_program_ms": _median_ms([reading for reading, _ in loads]),
        "load_method_ms": _median_ms([packing for _, packing in loads]),
        "load_ms": _median_ms([sum(both) for both in loads]),
        "first_ms": _median_ms([result.first_ns[name] for result in results]),
        **with_program(device, program.path, program.method, program.inputs, protocol).over(empty),
    }
    speed = Speed(
        structure=name,
        device=device.name,
        runtime=device.runtime,
        threads=results[0].threads,
        program_sha256=file_sha256(program.path),
        samples=figures.samples,
        process_medians_ms=figures.medians_ms,
        metrics=metrics,
        checked_sha256=file_sha256(program.check) if program.check else "",
        checked_ratio=float(np.median(checks)) if checks else None,
        flags=figures.flags,
    )
    return Timing(speed, tuple(thinned(samples) for samples in processes))


def _shipped(speed: Speed, device: Device, program: SpeedProgram) -> Speed:
    """The speed with the bytes of the libraries that the program calls there, where both are known."""
    if speed.status != "ok" or not program.calls or not isinstance(device, Packaged):
        return speed
    files = runtime_libraries(program.calls, device.package())
    if isinstance(files, str):
        return speed.model_copy(update={"reasons": {**speed.reasons, "runtime_bytes": files}})
    size = float(sum(path.stat().st_size for path in files))
    names = tuple(path.name for path in files)
    return speed.model_copy(update={"metrics": {**speed.metrics, "runtime_bytes": size}, "runtime_files": names})


def _median_ms(times: Sequence[int]) -> float:
    return float(np.median(times)) / 1e6


def _failure(name: str, device: Device, program: SpeedProgram, protocol: Protocol, error: StageError) -> Speed:
    return Speed.model_validate(
        {
            "structure": name,
            "device": device.name,
            "runtime": device.runtime,
            "threads": protocol.threads,
            "program_sha256": file_sha256(program.path),
            "samples": 0,
            "process_medians_ms": (),
            "metrics": {},
            "status": error.status,
            "reason": error.reason,
        },
    )
