"""The runner for machines without a C++ compiler: ``python -m kdbench.devices.python_runner JOB_FOLDER``.

It reads the same jobs and writes the same results as the native runner, through ExecuTorch's Python binding. Its
figures include that binding and are never compared with native ones.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.devices.binding import binding, match_inputs, refusal, unset
from kdbench.devices.dim_order import dim_orders
from kdbench.devices.pace import Kept, pace
from kdbench.devices.python_process import peak_rss_bytes, pin, resident_bytes
from kdbench.devices.statements import (
    BAD_INPUT,
    BAD_JOB,
    BAD_PROGRAM,
    NO_MEMORY,
    NOT_RUN,
    NOT_WRITTEN,
    Entry,
    InterleaveStep,
    LoadStep,
    MemoryStep,
    PaceStep,
    PredictStep,
    Refusal,
    read_job,
)
from kdbench.devices.wire import JOB_FILE, JOB_VERSION, RESULT_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class _Program:
    """A program of the job, what it is once it is loaded, and what was measured of it."""

    name: str
    path: str
    loaded: Any = None
    method: Any = None
    load_program_ns: int = 0
    load_method_ns: int = 0
    first_ns: int = -1
    samples: list[int] = field(default_factory=list)
    series: Kept = field(default_factory=Kept)
    outputs: list[dict[str, Any]] = field(default_factory=list)


class Runner:
    """The job in a folder, and what came of its steps so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job = read_job(folder / JOB_FILE)
        self._programs = [_Program(method, path) for method, path in self._job.programs]
        self._memory: dict[str, int] = {}
        self._resident: dict[str, dict[str, int]] = {}
        self._blocks: list[int] = []

    def run(self) -> None:
        """Do every step in order, then write the results.

        Raises:
            Refusal: a step cannot be done.
        """
        pinned = pin(self._job.cpu)
        # Imported before anything is measured: an empty job's memory holds it too.
        runtime = binding()
        runtime._unsafe_reset_threadpool(self._job.threads)  # noqa: SLF001 - the only way to set them
        threads = runtime._threadpool_get_thread_count()  # noqa: SLF001
        for step in self._job.steps:
            match step:
                case LoadStep(place):
                    self._load(self._programs[place])
                case PredictStep(place, entry):
                    self._predict(place, self._job.inputs[entry])
                case MemoryStep(index):
                    self._resident |= {index: told} if (told := resident_bytes()) else {}
                    self._memory[index] = peak_rss_bytes()
                case PaceStep(place):
                    self._pace(self._programs[place], step)
                case InterleaveStep():
                    self._interleave(step)
        self._write({"version": JOB_VERSION, "threads": threads, "pinned": pinned})

    def _load(self, program: _Program) -> None:
        program.method = None
        try:
            start = time.perf_counter_ns()
            # The public API imports the whole exporter, and sets inputs, runs and copies outputs in one call.
            program.loaded = binding()._load_program(program.path)  # noqa: SLF001
            program.load_program_ns = time.perf_counter_ns() - start
        except RuntimeError as error:
            raise refusal(error, BAD_PROGRAM, f"cannot load program {program.path}") from None
        names = sorted(program.loaded.get_method_name(i) for i in range(program.loaded.num_methods()))
        if program.name not in names:
            known = ", ".join(names)
            raise Refusal(BAD_INPUT, f"program {program.path} has no method '{program.name}'; it has [{known}]")
        try:
            start = time.perf_counter_ns()
            program.method = program.loaded.load_method(program.name)
            program.load_method_ns = time.perf_counter_ns() - start
        except RuntimeError as error:
            what = f"cannot load method '{program.name}' of program {program.path}"
            raise refusal(error, BAD_PROGRAM, what) from None

    def _items(self, program: _Program, entry: Entry) -> list[list[Any]]:
        """The inputs of each item as tensors in the layout that the method plans.

        Raises:
            Refusal: the method would misread them.
        """
        import torch

        if program.method is None:
            raise Refusal(BAD_JOB, f"program {program.path} is used before it is loaded")
        match_inputs(program.method.method_meta(), entry.arrays, f"program {program.path}")
        columns = []
        orders = dim_orders(Path(program.path), program.name)
        for array, order in zip(entry.arrays, orders, strict=True):
            if not array.content:
                columns.append([torch.empty(array.shape, dtype=getattr(torch, array.dtype))] * entry.items)
                continue
            rows = torch.frombuffer(array.content, dtype=getattr(torch, array.dtype)).reshape(entry.items, *array.shape)
            columns.append([_laid_out(row, order or ()) for row in rows.unbind(0)])
        return [[column[i] for column in columns] for i in range(entry.items)]

    def _execute(self, program: _Program, inputs: list[Any]) -> int:
        try:
            program.method.set_inputs(inputs)
        except RuntimeError as error:
            raise unset(program.method.method_meta(), inputs, f"program {program.path}", error) from None
        try:
            start = time.perf_counter_ns()
            program.method.execute()
            taken = time.perf_counter_ns() - start
        except RuntimeError as error:
            raise refusal(error, NOT_RUN, f"cannot run program {program.path}") from None
        if program.first_ns < 0:
            program.first_ns = taken
        return taken

    def _interleave(self, step: InterleaveStep) -> None:
        courses = []
        for place, entry in step.timed:
            program = self._programs[place]
            courses.append((place, program, cycle(self._items(program, self._job.inputs[entry]))))
        for _, program, items in courses:
            self._warm_up(program, items, step)
        runs, spent, done = [0] * len(courses), [0] * len(courses), [False] * len(courses)
        order = orders(len(courses), step.seed)
        while not all(done):
            for at in next(order):
                if done[at]:
                    continue
                place, program, items = courses[at]
                self._blocks.append(place)
                block = 0
                while not block or block < step.block_ns:
                    ns = self._execute(program, next(items))
                    program.samples.append(ns)
                    runs[at] += 1
                    block += ns
                spent[at] += block
                enough = runs[at] >= step.min_runs and spent[at] >= step.min_ns
                done[at] = enough or spent[at] >= step.max_ns

    def _warm_up(self, program: _Program, items: Iterator[list[Any]], step: InterleaveStep) -> None:
        if program.first_ns < 0:
            self._execute(program, next(items))
        runs = spent = 0
        while (runs < step.warmup_runs or spent < step.warmup_ns) and spent < step.max_ns:
            spent += self._execute(program, next(items))
            runs += 1

    def _pace(self, program: _Program, step: PaceStep) -> None:
        items = cycle(self._items(program, self._job.inputs[step.entry]))
        if program.first_ns < 0:
            self._execute(program, next(items))
        program.series = pace(step.period_ns, step.runs, step.max_ns, lambda: self._execute(program, next(items)))

    def _predict(self, place: int, entry: Entry) -> None:
        import torch

        program = self._programs[place]
        columns: list[list[Any]] = []
        for inputs in self._items(program, entry):
            self._execute(program, inputs)
            for i, output in enumerate(program.method.get_outputs()):
                what = f"output {i} of program {program.path}"
                if not isinstance(output, torch.Tensor):
                    raise Refusal(BAD_INPUT, f"{what} is not a tensor")
                if i == len(columns):
                    columns.append([])
                if columns[i] and columns[i][0].shape != output.shape:
                    raise Refusal(NOT_RUN, f"{what} changes its shape from item to item")
                columns[i].append(output)
        for i, rows in enumerate(columns):
            file = f"output-{place}-{i}.bin"
            dtype = str(rows[0].dtype).removeprefix("torch.")
            self._put(file, torch.stack([row.contiguous() for row in rows]).flatten().view(torch.uint8).numpy())
            program.outputs.append({"dtype": dtype, "shape": list(rows[0].shape), "file": file})

    def _write(self, result: dict[str, Any]) -> None:
        told = []
        for i, program in enumerate(self._programs):
            file = f"samples-{i}.bin"
            self._put(file, np.array(program.samples, dtype="<i8"))
            times = {name: getattr(program, name) for name in ("load_program_ns", "load_method_ns", "first_ns")}
            loaded = program.method is not None
            outputs, runs = program.outputs, len(program.samples)
            told.append({"loaded": loaded, **times, "outputs": outputs, "samples": file, "runs": runs})
            if program.series.runs:
                file, pairs = f"series-{i}.bin", program.series.pairs
                self._put(file, np.array(pairs, dtype="<i8"))
                told[-1] |= {"series": file, "kept": len(pairs), "begun": program.series.runs}
        memory = {"memory": self._memory, "resident": self._resident}
        text = json.dumps({**result, "blocks": self._blocks, "programs": told, **memory})
        self._put(RESULT_FILE, np.frombuffer(text.encode(), dtype=np.uint8))

    def _put(self, file: str, values: Any) -> None:
        try:
            (self._folder / file).write_bytes(values.tobytes())
        except OSError as error:
            raise Refusal(NOT_WRITTEN, f"cannot write results: {error.strerror}") from None


def orders(count: int, seed: int) -> Iterator[list[int]]:
    """The native runner's order of blocks in each round: Fisher and Yates, fed by SplitMix64 (Steele et al. 2014)."""
    mask = 2**64 - 1
    order = list(range(count))
    while True:
        for left in range(count, 1, -1):
            seed = (seed + 0x9E3779B97F4A7C15) & mask
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            at = (z ^ (z >> 31)) % left
            order[left - 1], order[at] = order[at], order[left - 1]
        yield order


def _laid_out(row: Any, order: tuple[int, ...]) -> Any:
    if order == tuple(range(len(order))):
        return row
    inverse = [order.index(place) for place in range(len(order))]
    return row.permute(order).contiguous().permute(inverse)


def main(folder: str) -> int:
    """Run the job in ``folder``; the exit code."""
    try:
        Runner(Path(folder)).run()
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return refusal.code
    except MemoryError:
        sys.stderr.write("out of memory\n")
        return NO_MEMORY
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m kdbench.devices.python_runner JOB_FOLDER")
    sys.exit(main(sys.argv[1]))
