"""Profiles: where the time of a program goes, operator by operator, by ExecuTorch's own event tracer."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.errors import MeasureError
from kdbench.figures import given_inputs, made_inputs
from kdbench.lowering.program import OpenProgram, bytes_of, damage_told, facts, opened
from kdbench.lowering.quiet import hushed, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from kdbench.lowering.program import ProgramFacts

KERNEL = "kernel"
"""Where an operator runs that is in no delegate."""

WHOLE = "the whole delegate"
"""The one step of a delegate that tells of no operators."""

REST = "rest"
"""What a delegate's call, or the whole inference, takes besides the operators that are told of."""

_WARMUP = 10
_LEAST, _MOST = 100, 5000
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of an inference, in its order: its name, where it runs (a backend or ``kernel``), its mean time in us.

    XNNPACK tells its operators' times in whole microseconds, cut off: what each lacks is in the delegate's ``rest``.
    """

    name: str
    where: str
    mean_us: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The operators of a method, the mean time in us of an inference under the tracer, and how that was measured."""

    facts: ProgramFacts
    operators: tuple[Operator, ...]
    mean_us: float
    runs: int
    threads: int
    fed: str

    def frame(self) -> pd.DataFrame:
        """One row an operator: ``operator``, ``where``, ``mean_us``, ``share`` of the inference."""
        import pandas as pd

        rows = [(each.name, each.where, each.mean_us, each.mean_us / self.mean_us) for each in self.operators]
        return pd.DataFrame(rows, columns=["operator", "where", "mean_us", "share"])


def profile(
    path: Path | str, *, method: str = "", inputs: Sequence[Path] = (), threads: int = 1, seconds: float = _SECONDS
) -> Profile:
    """Where the time of one method (the first, if it is not named) of the program in ``path`` goes.

    It is run for ``seconds`` in this process by ExecuTorch's Python runtime, on ``threads`` threads, at least 100 times
    and at most 5,000. ``inputs`` are .npy files, one an input; without them eight items are made up. The tracer costs
    time of its own: an inference takes a little longer than ``kdbench measure`` says.

    Raises:
        UsageError: no such file or method, a damaged program, or inputs that do not fit.
        MeasureError: the program does not run here, or the tracer says nothing of it.
    """
    program, known, arrays, fed = asked(Path(path), method, inputs)
    events, runs = _traced(program, known, arrays, threads, seconds)
    whole = next((mean for name, mean, _ in events if name == "Method::execute"), None)
    if whole is None:
        raise MeasureError(f"{path}: ExecuTorch's tracer told nothing; was this runtime built with it?")
    found = tuple(_operators(events, iter(called_backends(program)), whole))
    return Profile(known, found, whole, runs, threads, fed)


def asked(
    path: Path, method: str, inputs: Sequence[Path]
) -> tuple[OpenProgram, ProgramFacts, tuple[np.ndarray[Any, Any], ...], str]:
    """The program in ``path``, the facts of its method, what that is fed (one array an input), and this in words.

    Raises:
        UsageError: as for ``profile``.
    """
    program = opened(bytes_of(path), str(path), method)
    with damage_told(str(path)):
        known = facts(program)
    arrays = given_inputs(known, inputs) if inputs else made_inputs(known)
    fed = ", ".join(file.name for file in inputs) if inputs else f"{len(arrays[0])} made-up items"
    return program, known, arrays, fed


def called_backends(program: OpenProgram) -> list[str]:
    """The backend of each call of a delegate, in the order in which they are written."""
    named = [delegate.id for delegate in program.plan.delegates]
    calls = [each.instr_args for chain in program.plan.chains for each in chain.instructions]
    return [named[call.delegate_index] for call in calls if hasattr(call, "delegate_index")]


def _traced(
    program: OpenProgram, known: ProgramFacts, arrays: Sequence[np.ndarray[Any, Any]], threads: int, seconds: float
) -> tuple[list[tuple[str, float, bool]], int]:
    """The events of an inference in their order (name, mean us, whether in a delegate), and over how many runs."""
    with quiet():
        import torch
        from executorch.devtools import Inspector
        from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
        from executorch.runtime import Runtime

    items = [tuple(torch.from_numpy(array[place]) for array in arrays) for place in range(len(arrays[0]))]
    with tempfile.TemporaryDirectory(prefix="kdbench-profile-") as folder, quiet(), hushed():
        trace = Path(folder) / "trace.etdp"
        before = _threadpool_get_thread_count()
        try:
            _unsafe_reset_threadpool(threads)
            loaded = Runtime.get().load_program(program.data, enable_etdump=True)
            method = loaded.load_method(known.method)
            done, until = 0, time.perf_counter() + seconds
            while done < _WARMUP + _LEAST or (done < _MOST and time.perf_counter() < until):
                method.execute(list(items[done % len(items)]))
                done += 1
            loaded.write_etdump_result_to_file(str(trace), str(Path(folder) / "debug.bin"))
        except RuntimeError as error:
            said = str(error).strip().partition("\n")[0]
            needs = ", ".join((*known.delegates, *known.operators))
            raise MeasureError(f"the program does not run here: {said}; it needs {needs}") from error
        finally:
            _unsafe_reset_threadpool(before)
        blocks = [block for block in Inspector(etdump_path=str(trace)).event_blocks if block.name == "Execute"]
    events = [event for block in blocks for event in block.events if event.perf_data is not None]
    means = [float(np.mean(event.perf_data.raw[_WARMUP:])) * 1000 for event in events]
    told = [(str(event.name), mean, bool(event.is_delegated_op)) for event, mean in zip(events, means, strict=True)]
    return told, done - _WARMUP


def _operators(events: Sequence[tuple[str, float, bool]], backends: Iterator[str], whole: float) -> Iterator[Operator]:
    """The steps of an inference: a kernel has an event of its own and its call's, a delegate many and its call's."""
    inside: list[tuple[str, float]] = []
    kernel, total = "", 0.0
    for name, mean, delegated in events:
        if delegated:
            inside.append((name, mean))
        elif name == "DELEGATE_CALL":
            backend = next(backends, "delegate")  # a program that jumps calls more often than it is written
            yield from (Operator(operator, backend, spent) for operator, spent in inside)
            yield Operator(REST if inside else WHOLE, backend, mean - sum(spent for _, spent in inside))
            inside, total = [], total + mean
        elif name.startswith("native_call_"):
            kernel = name.removeprefix("native_call_")
        elif name == "OPERATOR_CALL":
            yield Operator(kernel, KERNEL, mean)
            total += mean
    yield Operator(REST, "runtime", whole - total)
