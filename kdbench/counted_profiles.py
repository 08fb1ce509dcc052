"""Counted profiles: which operators execute the instructions of a program on an emulated core, to the last one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.devices.device import COUNTED
from kdbench.devices.qemu import qemu
from kdbench.errors import MeasureError, StageError
from kdbench.measures.instructions import ITEMS, PASSES, WARMUP, counting_job, per_inference
from kdbench.profiles import KERNEL, REST, WHOLE, asked, called_backends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from kdbench.devices.trace import Inference, Reading
    from kdbench.lowering.program import ProgramFacts

READING = 32
"""Instructions that one reading of the tracer adds at most; about twenty were found."""

_SECONDS = 300.0
_NATIVE = "native_call_"


@dataclass(frozen=True, slots=True)
class CountedOperator:
    """One step of an inference, in its order: its name, where it runs, and its mean counts, one of each ``COUNTED``.

    A delegate's ``rest`` is what it does before its first operator. What it does after the last is in the runtime's.
    """

    name: str
    where: str
    counts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CountedProfile:
    """The operators of a method, the counts of an inference without the tracer, where and how that was counted.

    ``items`` were fed in turn, ``fed`` says in words what they are.
    """

    facts: ProgramFacts
    operators: tuple[CountedOperator, ...]
    counts: tuple[float, ...]
    device: str
    runtime: str
    items: int
    fed: str

    @property
    def within(self) -> float:
        """The instructions of an inference in all steps but the runtime's own."""
        return sum(each.counts[0] for each in self.operators[:-1])

    def frame(self) -> pd.DataFrame:
        """One row an operator: ``operator``, ``where``, each of ``COUNTED``, ``share`` of the instructions."""
        import pandas as pd

        rows = [(each.name, each.where, *each.counts, each.counts[0] / self.counts[0]) for each in self.operators]
        return pd.DataFrame(rows, columns=["operator", "where", *COUNTED, "share"])


def counted_profile(
    path: Path | str, device: str, *, method: str = "", inputs: Sequence[Path] = (), threads: int = 1
) -> CountedProfile:
    """Which operators execute the instructions of one method (the first, if not named) of the program in ``path``.

    ``device`` is a core under qemu, such as ``qemu:cortex-a76+wheel1.5.1``. An inference is counted twice: as ``kdbench
    measure`` does, and under ExecuTorch's tracer, whose own work is left out. ``inputs`` are .npy files, one an input;
    of their items, or of made-up ones, the first two are fed.

    Raises:
        UsageError: no such file, method or core, more than one thread, a damaged program, or inputs that do not fit.
        MeasureError: the program does not run there, its counts are not linear in the number of inferences, or those of
            the two ways do not fit each other.
    """
    emulated, path = qemu(device), Path(path)
    program, known, arrays, fed = asked(path, method, inputs)
    fed_arrays = tuple(array[:ITEMS] for array in arrays)
    items = len(fed_arrays[0])
    job = counting_job(path, known.method, fed_arrays, _SECONDS, threads)
    try:
        counts = emulated.count(job)[1]
        whole = tuple(per_inference(counts, items).values())
        traced = emulated.trace(job)
        found = mean_steps(traced, called_backends(program), items)
        for inference, alone in zip(traced[-items:], counts[-items:], strict=True):
            check(inference, int(alone[0]))
    except StageError as error:
        needs = ", ".join((*known.delegates, *known.operators))
        raise MeasureError(f"{path} has no profile on {device}: {error.reason}; it needs {needs}") from None
    told = f"the first {items} of {fed}" if items < len(arrays[0]) else fed
    left = np.array(whole) - sum((np.array(step.counts) for step in found), np.zeros(len(COUNTED)))
    rest = CountedOperator(REST, "runtime", tuple(left.tolist()))
    return CountedProfile(known, (*found, rest), whole, device, emulated.runtime, items, told)


def steps(inference: Inference, backends: Sequence[str]) -> list[CountedOperator]:
    """The steps that a trace tells of, the runtime's own excepted; ``backends`` are those of its delegates' calls.

    Raises:
        StageError: events that do not nest, or a delegate that read the clock not once more than it has operators.
    """
    calls, found = iter(backends), []
    for name, readings in _events(inference):
        if name.startswith(_NATIVE):
            found.append(_step(name.removeprefix(_NATIVE), KERNEL, readings))
        elif name == "DELEGATE_CALL":
            backend = next(calls, "delegate")  # a program that jumps calls more often than it is written
            found += _delegated(readings, backend)
    return found


def mean_steps(inferences: Sequence[Inference], backends: Sequence[str], items: int) -> list[CountedOperator]:
    """``steps`` of an inference: means over the items, each of which takes the same in every pass but the first ones.

    Raises:
        StageError: it does not, there are not as many inferences as were asked for, or items run different operators.
    """
    expected = items * (WARMUP + PASSES)
    if len(inferences) != expected:
        raise StageError(f"{len(inferences)} inferences were traced, expected {expected}")
    passes = [
        [steps(inference, backends) for inference in inferences[start : start + items]]
        for start in range(items * WARMUP, expected, items)
    ]
    for other in passes[1:]:
        for step, again in zip_longest(chain(*passes[0]), chain(*other)):
            if step != again:
                told = f"in two passes the tracer saw {_told(step)} and {_told(again)}"
                raise StageError(f"instructions are not linear in the number of inferences: {told}")
    first, *others = passes[0]
    named = [(each.name, each.where) for each in first]
    if any([(each.name, each.where) for each in other] != named for other in others):
        raise StageError("the items run different operators; feed one item by --input")
    means = [np.mean([each.counts for each in same], axis=0).tolist() for same in zip(*passes[0], strict=True)]
    return [CountedOperator(*place, tuple(mean)) for place, mean in zip(named, means, strict=True)]


def check(inference: Inference, whole: int) -> None:
    """Nothing, when the tracer explains by what its inference differs from one of ``whole`` instructions.

    Each reading adds at most ``READING``. After a delegate's last operator nearly all is the tracer's work.

    Raises:
        StageError: it does not.
    """
    most = _sum(inference)[0]
    tracing = sum(_sum(_after(readings))[0] for name, readings in _events(inference) if name == "DELEGATE_CALL")
    least = most - tracing - READING * len(inference)
    if not least <= whole <= most:
        raise StageError(
            f"under the tracer an inference takes {least:,} to {most:,} instructions, without it {whole:,}: "
            "they are not the same work"
        )


def _events(inference: Inference) -> Iterator[tuple[str, Inference]]:
    """The events of a trace in the order of their ends: their names and what was read in them, their ends too."""
    begun: list[int] = []
    for place, reading in enumerate(inference):
        if reading.kind == "begin":
            begun.append(place)
        elif reading.kind == "end" and begun:
            start = begun.pop()
            yield inference[start].name, inference[start + 1 : place + 1]
        elif reading.kind == "end":
            raise StageError("the tracer noted the end of an event that had not begun")
    if begun:
        raise StageError(f"the tracer noted no end of {inference[begun[-1]].name}")


def _delegated(readings: Inference, backend: str) -> Iterator[CountedOperator]:
    """The steps of one call of a delegate: its operators lie between its readings of the clock."""
    names = [each.name for each in readings if each.kind == "operator"]
    clocks = [place for place, each in enumerate(readings) if each.kind == "clock"]
    if not names:
        yield _step(WHOLE, backend, readings)
        return
    if len(clocks) != len(names) + 1:
        raise StageError(
            f"{backend} read the clock {len(clocks)} times for {len(names)} operators, expected {len(names) + 1}"
        )
    for name, before, after in zip(names, clocks, clocks[1:], strict=False):
        yield _step(name, backend, readings[before + 1 : after + 1])
    yield _step(REST, backend, readings[: clocks[0] + 1])


def _after(readings: Inference) -> Inference:
    """What was read of a delegate's call after its last operator; nothing of one that tells of none."""
    clocks = [place for place, each in enumerate(readings) if each.kind == "clock"]
    told = any(each.kind == "operator" for each in readings)
    return readings[clocks[-1] + 1 :] if told and clocks else ()


def _told(step: CountedOperator | None) -> str:
    return f"{step.name} with {step.counts[0]:,}" if step else "no step"


def _step(name: str, where: str, readings: Sequence[Reading]) -> CountedOperator:
    return CountedOperator(name, where, tuple(_sum(readings).tolist()))


def _sum(readings: Sequence[Reading]) -> NDArray[np.int64]:
    return np.sum([each.counts for each in readings], axis=0) if readings else np.zeros(len(COUNTED), np.int64)
