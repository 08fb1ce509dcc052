"""Measuring speed: structures and a reference program interleaved, in several fresh processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.devices.device import Counter, Packaged, Remote
from kdbench.devices.runner.runtime import runtime_libraries
from kdbench.errors import MeasureError, StageError
from kdbench.measures.energy import energy_mj
from kdbench.measures.instructions import counted
from kdbench.measures.latency import PACED, SUSTAINED
from kdbench.measures.memory import Resident, with_program, without_program
from kdbench.measures.paced import measure_paced, paced
from kdbench.measures.steady import steady, thinned
from kdbench.measures.sustained import measure_sustained, over_time, sustained
from kdbench.measures.timing_job import AGAIN, CHECK, REFERENCE, check_protocol, culprits, timing_job
from kdbench.meters import MeterError, meter
from kdbench.moment import Moment, moment, others_between, stolen_between
from kdbench.noise import governor
from kdbench.records import Speed
from kdbench.sitting import Around, Sitting
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.devices.job import Result
    from kdbench.measures.measure import Figure
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.spec import Protocol


@dataclass(frozen=True, slots=True)
class Timing:
    """The speed of a structure, and its samples: int32 ns by process, at most ``KEPT`` of each.

    ``sitting``: what else went on, the same for all that were timed together; None where nothing was.
    """

    speed: Speed
    samples: tuple[NDArray[np.int32], ...] = ()
    sitting: Sitting | None = None


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

    Raises:
        UsageError: the device cannot do as the protocol says.
    """
    check_protocol(device, protocol)
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
    moments = [moment()]
    while len(results) < protocol.processes:
        so_far = _two_copies(device, protocol, results if reference else [])
        tell(len(results) / rounds, f"process {len(results) + 1} of {protocol.processes}{so_far}")
        healthy = {name: program for name, program in programs.items() if name not in failed}
        if not healthy:
            break
        try:
            results.append(device.run(timing_job(healthy, reference, protocol, len(results))))
            moments.append(moment())
        except StageError as error:
            broken = culprits(device, healthy, reference, protocol)
            failed |= broken or dict.fromkeys(healthy, error)
    here = not isinstance(device, Remote)
    sitting = _sitting(device, protocol, results if reference else [], moments if here else [])
    timings = {}
    empty = Resident(0, None, None)
    if len(failed) < len(programs):
        try:
            empty = without_program(device, protocol)
        except StageError as error:
            failed = {name: failed.get(name, error) for name in programs}
    for done, (name, program) in enumerate(programs.items()):
        say = partial(tell, (protocol.processes + done / len(programs)) / rounds)
        say("memory")
        if name in failed:
            timings[name] = Timing(_failure(name, device, program, protocol, failed[name]))
            continue
        try:
            timing = _timing(name, program, device, results, protocol, empty, ruled=reference is not None)
            flags = tuple(dict.fromkeys((*timing.speed.flags, *sitting.flags)))
            speed = timing.speed.model_copy(update={"flags": flags})
            speed = _asked_for(speed, device, program, reference, protocol, say)
            timings[name] = replace(timing, speed=speed, sitting=sitting)
        except StageError as error:
            timings[name] = Timing(_failure(name, device, program, protocol, error))
    return timings


def _two_copies(device: Device, protocol: Protocol, ruled: Sequence[Result]) -> str:
    """What A/A is so far, from the first process on, for whoever could still stop what disturbs the machine."""
    sitting = _sitting(device, protocol, ruled, [])
    if sitting.aa is None:
        return ""
    return f", A/A {100 * sitting.aa:.1f} %" + (" (noisy)" if "noisy" in sitting.flags else "")


def _sitting(device: Device, protocol: Protocol, ruled: Sequence[Result], moments: Sequence[Moment]) -> Sitting:
    """What the processes that had the reference say of it, and the moments before the first and after each."""
    reference, again = ([_median_ms(result.samples[name]) for result in ruled] for name in (REFERENCE, AGAIN))
    first, last = (moments[0], moments[-1]) if len(moments) > 1 else (None, None)
    return Sitting(
        device=device.name,
        threads=protocol.threads,
        reference_ms=tuple(reference),
        again_ms=tuple(again),
        around=tuple(Around(load=each.load, mhz=each.mhz, celsius=each.celsius) for each in moments),
        governor=governor() if moments else "",
        stolen=stolen_between(first, last) if first and last else None,
        others=others_between(first, last) if first and last else None,
    )


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
            speed = counted(name, device, program, protocol)
            asked = (*(PACED if protocol.every_ms else ()), *(SUSTAINED if protocol.sustained_s else ()))
            timings[name] = Timing(_with(speed, dict.fromkeys(asked, device.untimed)))
        except StageError as error:
            timings[name] = Timing(_failure(name, device, program, protocol, error))
    return timings


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
        np.median(r.samples[name + CHECK]) / np.median(r.samples[name]) for r in (results if program.check else ())
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
        process_ratios=figures.ratios,
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
    try:
        files = runtime_libraries(program.calls, device.package())
    except MeasureError as error:
        files = str(error)
    if isinstance(files, str):
        return _with(speed, {"runtime_bytes": files})
    size = float(sum(path.stat().st_size for path in files))
    return _with(speed, {"runtime_bytes": size}, runtime_files=tuple(path.name for path in files))


def _asked_for(
    speed: Speed,
    device: Device,
    program: SpeedProgram,
    reference: SpeedProgram | None,
    protocol: Protocol,
    say: Callable[[str], None],
) -> Speed:
    """The speed with what is measured only where a protocol asks for it, in processes of their own."""
    if protocol.energy:
        speed = _with(speed, {"energy_mj": _energy(device, program, protocol)})
    if protocol.every_ms:
        processes, ruler = measure_paced(device, program, reference, protocol, say)
        figures = paced(processes, ruler, protocol.every_ms, speed.metrics["latency_ms"] or 0.0)
        samples = sum(series.runs for series in processes)
        speed = _with(speed, figures, every_ms=protocol.every_ms, paced_samples=samples)
    if protocol.sustained_s:
        say(f"{protocol.sustained_s / 60:g} min back to back")
        series = measure_sustained(device, program, protocol)
        facts = {"sustained_s": protocol.sustained_s, "sustained_samples": series.runs}
        speed = _with(speed, sustained(series), sustained_ms=over_time(series), **facts)
    return speed


def _energy(device: Device, program: SpeedProgram, protocol: Protocol) -> Figure:
    if isinstance(device, Remote):
        return f"energy is measured here alone: the windows of {device.name} would hold files that are moved, and waits"
    try:
        found = meter(protocol.energy)
    except MeterError as error:
        return str(error)
    return energy_mj(device, program, found, protocol)


def _with(speed: Speed, figures: Mapping[str, Figure], **facts: Any) -> Speed:
    """The speed with more figures, or the reasons why there are none, and with what else is known of it."""
    reasons = {name: figure for name, figure in figures.items() if isinstance(figure, str)}
    metrics = {name: None if isinstance(figure, str) else figure for name, figure in figures.items()}
    merged = {"metrics": {**speed.metrics, **metrics}, "reasons": {**speed.reasons, **reasons}}
    return speed.model_copy(update={**merged, **facts})


def _median_ms(times: Sequence[int] | NDArray[np.int64]) -> float:
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
