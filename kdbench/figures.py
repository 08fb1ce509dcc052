"""Figures of one program: anyone's ``.pte``, without suite, case or record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.devices.device import condition_of, device_named
from kdbench.errors import MeasureError, UsageError
from kdbench.lowering.program import read_program
from kdbench.measures.energy import Energy
from kdbench.measures.instructions import Instructions
from kdbench.measures.latency import absent, latencies
from kdbench.measures.memory import Memory
from kdbench.measures.speed import Timing, measure_speeds
from kdbench.measures.timing_job import SpeedProgram, check_protocol
from kdbench.records import Speed
from kdbench.spec import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.lowering.program import ProgramFacts, TensorMeta
    from kdbench.sitting import Sitting
    from kdbench.store import Store

    Condition = Mapping[str, Mapping[str, Any]]

ITEMS = 8
"""How many made-up items a program is fed in turn."""

_SIZES = ("size_bytes", "download_bytes", "weight_bytes", "arena_bytes")
_FLOATS = ("float16", "float32", "float64")
_WHOLE = ("int8", "uint8", "int16", "int32", "int64", "bool")


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found out about a program in one place: on a device, with a number of threads, as ``speed`` says.

    ``inputs`` says in words what it was fed. ``metrics`` are by id, in the unit of ``METRICS``; ``reasons`` say why one
    is None. ``processes``: how many fresh processes were timed or counted. ``sitting``: what else went on meanwhile.
    ``condition``: the device's, ``before`` and ``after``, where it has one that moves its figures.
    """

    facts: ProgramFacts
    inputs: str
    speed: Speed
    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]
    processes: int
    sitting: Sitting | None
    condition: Condition


def measure_file(
    path: Path,
    *,
    device: str = "host",
    method: str = "",
    protocol: Protocol | None = None,
    inputs: Sequence[Path] = (),
    store: Store | None = None,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> Figures:
    """Size, latency and memory, or instructions, of one method (the first, if not named) of the program in ``path``.

    ``inputs`` are .npy files, one an input, each an item or several; without them ``ITEMS`` items are made up from the
    method's own shapes. ``store`` is looked into for the reference program, so that ``latency_ref`` has its ruler.

    Raises:
        UsageError: no such file, method or device, a damaged program, or inputs that do not fit.
        MeasureError: the program does not run on the device.
    """
    subject = _subject(path, method, inputs)
    timing, condition = _timing(subject, device_named(device), protocol or Protocol(), store, tell)
    speed = timing.speed
    if speed.status != "ok":
        needs = ", ".join((*subject.facts.delegates, *subject.facts.operators))
        raise MeasureError(f"{path} does not run on {device} ({speed.status}): {speed.reason}; it needs {needs}")
    return _figures(subject, timing, condition)


def measure_everywhere(
    path: Path,
    *,
    devices: Sequence[str],
    threads: Sequence[int],
    method: str = "",
    protocol: Protocol | None = None,
    inputs: Sequence[Path] = (),
    store: Store | None = None,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> tuple[Figures, ...]:
    """``measure_file`` for each device and there for each number of ``threads``, one after another.

    Where a place fails, the status and reason are those of its ``speed``; the others are measured all the same.

    Raises:
        UsageError: as for ``measure_file``, before anything is measured.
    """
    subject = _subject(path, method, inputs)
    places = [(device, count) for device in map(device_named, devices) for count in threads]
    for device, _ in places:
        check_protocol(device, protocol or Protocol())
    found = []
    for done, (device, count) in enumerate(places):

        def told(share: float, text: str, done: int = done, name: str = device.name) -> None:
            tell((done + share) / len(places), f"{name}: {text}")

        asked = (protocol or Protocol()).model_copy(update={"threads": count})
        try:
            timing, condition = _timing(subject, device, asked, store, told)
        except MeasureError as error:
            timing, condition = Timing(_unmeasured(subject, device.name, count, error)), {}
        found.append(_figures(subject, timing, condition))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is measured: a program's facts, itself with its items, and in words what it is fed."""

    facts: ProgramFacts
    program: SpeedProgram
    fed: str


def _subject(path: Path, method: str, inputs: Sequence[Path]) -> _Subject:
    facts = read_program(path, method)
    arrays = given_inputs(facts, inputs) if inputs else made_inputs(facts)
    if inputs:
        fed = f"{len(arrays[0])} from {', '.join(file.name for file in inputs)}"
    else:
        fed = f"{ITEMS} made up: floats from a standard normal (seed 0), whole numbers and booleans 0"
    calls = (*facts.delegates, *facts.operators)
    return _Subject(facts, SpeedProgram(path, arrays, facts.method, calls=calls), fed)


def _timing(
    subject: _Subject,
    device: Device,
    protocol: Protocol,
    store: Store | None,
    tell: Callable[[float, str], None],
) -> tuple[Timing, Condition]:
    """What was measured, and the condition of the device around it."""
    ruler = _ruler(store) if store else None
    before = condition_of(device)
    [timing] = measure_speeds(device, {subject.facts.sha256: subject.program}, ruler, protocol, tell).values()
    return timing, {"before": before, "after": condition_of(device)} if before else {}


def _unmeasured(subject: _Subject, device: str, threads: int, error: MeasureError) -> Speed:
    """The speed of a place where nothing could be measured: a tool lacks, or a board is out of reach."""
    return Speed(
        structure=subject.facts.sha256,
        device=device,
        runtime="",
        threads=threads,
        program_sha256=subject.facts.sha256,
        samples=0,
        process_medians_ms=(),
        metrics={},
        status="failed",
        reason=str(error),
    )


def _figures(subject: _Subject, timing: Timing, condition: Condition) -> Figures:
    metrics, reasons = _metrics(subject.facts, timing.speed)
    processes = len(timing.speed.process_medians_ms) or 1
    return Figures(subject.facts, subject.fed, timing.speed, metrics, reasons, processes, timing.sitting, condition)


def made_inputs(facts: ProgramFacts) -> tuple[NDArray[np.generic], ...]:
    """``ITEMS`` items for a method, one array [items, *shape] an input, the same at every call.

    Raises:
        UsageError: an input that is no tensor of a type that can be made up.
    """
    if not facts.inputs:
        raise UsageError(f"method {facts.method!r} takes no inputs; only methods that do can be timed")
    generator = np.random.Generator(np.random.PCG64(0))
    arrays: list[NDArray[np.generic]] = []
    for place, meta in enumerate(facts.inputs):
        shape = (ITEMS, *meta.shape)
        if meta.dtype in _FLOATS:
            arrays.append(generator.standard_normal(shape, dtype=np.float32).astype(meta.dtype))
        elif meta.dtype in _WHOLE:
            arrays.append(np.zeros(shape, dtype=meta.dtype))
        else:
            known = ", ".join((*_FLOATS, *_WHOLE))
            raise UsageError(f"input {place} of method {facts.method!r} is {meta.dtype}; known are tensors of {known}")
    return tuple(arrays)


def given_inputs(facts: ProgramFacts, paths: Sequence[Path]) -> tuple[NDArray[np.generic], ...]:
    """The items in .npy files, one array [items, *shape] an input; a file of the input's own shape is one item.

    Raises:
        UsageError: files that cannot be read, too many or too few, of another type or shape, or of unequal length.
    """
    if len(paths) != len(facts.inputs):
        wanted = len(facts.inputs)
        raise UsageError(f"method {facts.method!r} has {wanted} inputs, --input was given {len(paths)} times")
    arrays = tuple(_read(path, meta) for path, meta in zip(paths, facts.inputs, strict=True))
    counts = {path.name: len(array) for path, array in zip(paths, arrays, strict=True)}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise UsageError(f"the inputs differ in their number of items: {told}")
    return arrays


def _read(path: Path, meta: TensorMeta) -> NDArray[np.generic]:
    try:
        with path.open("rb") as file:
            array: NDArray[np.generic] = np.load(file, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is not a .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path} holds several arrays; expected one .npy file an input")
    items = array[None] if array.shape == meta.shape else array
    if array.dtype.name != meta.dtype or items.shape[1:] != meta.shape or not len(items):
        wanted = f"{meta.dtype} {list(meta.shape)}, or several of them as [items, ...]"
        raise UsageError(f"{path} is {array.dtype.name} {list(array.shape)}; the program takes {wanted}")
    return np.ascontiguousarray(items)


def _ruler(store: Store) -> SpeedProgram | None:
    """The reference program, if the store has it."""
    from kdbench.session import REFERENCE

    artefact = store.get(REFERENCE.kind, REFERENCE.key({}))
    if artefact is None:
        return None
    one = np.load(artefact.path("input.npy"), allow_pickle=False)
    return SpeedProgram(artefact.path("program.pte"), (one[None],))


def _metrics(facts: ProgramFacts, speed: Speed) -> tuple[dict[str, float | None], dict[str, str]]:
    """Every figure by id, None where there is none, and why."""
    found: dict[str, Any] = {name: float(getattr(facts, name)) for name in _SIZES}
    share = facts.quantized_share
    found["quantized_share"] = "its backend keeps its constants to itself" if share is None else share
    why = absent(speed.samples)
    why["latency_ref"] = "the reference program is not in the store; kdbench doctor puts it there"
    counted = [name for name in Instructions.metrics if name in speed.metrics]
    for name in (*counted, *latencies(speed), *Memory.metrics, *Energy.metrics):
        value = speed.metrics.get(name)
        found[name] = (speed.reasons.get(name) or speed.reason or why[name]) if value is None else value
    metrics = {name: None if isinstance(value, str) else value for name, value in found.items()}
    return metrics, {name: value for name, value in found.items() if isinstance(value, str)}
