"""The runner for machines without a C++ compiler: ``python -m kdbench.devices.python_runner JOB_FOLDER``.

It reads the same jobs and writes the same results as the native runner, through ExecuTorch's Python binding. Its figures
include that binding and are never compared with native ones.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.devices.wire import JOB_FILE, JOB_VERSION, RESULT_FILE, stored_dtype

_BAD_JOB, _BAD_INPUT, _BAD_PROGRAM, _NO_MEMORY, _NOT_RUN = 10, 11, 12, 13, 14


class Refusal(Exception):  # noqa: N818 - it is what the runner answers, not a defect of its own
    """One line and the exit code that goes with it."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


class Runner:
    """One job: its programs, inputs and what came of its steps so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = _lines(folder)
        self._programs: list[dict[str, Any]] = []
        self._inputs: list[list[list[Any]]] = []
        self._memory: dict[str, int] = {}
        self._threads = 1
        self._pinned = -1

    def run(self) -> None:
        """Do every step in order, then write the results."""
        for words in self._lines:
            match words:
                case ["threads", count]:
                    self._set_threads(int(count))
                case ["cpu", cpu]:
                    self._pin(int(cpu))
                case ["program", method, path]:
                    self._programs.append(_program(method, path))
                case ["input", items, arrays]:
                    self._inputs.append(self._read(int(items), int(arrays)))
                case ["load", program]:
                    self._load(self._programs[int(program)])
                case ["predict", program, entry]:
                    self._predict(int(program), self._inputs[int(entry)])
                case ["memory", index]:
                    self._memory[index] = _peak_rss_bytes()
                case ["interleave", *numbers]:
                    self._interleave([int(number) for number in numbers])
                case _:
                    raise Refusal(_BAD_JOB, f"unknown statement {words[0]!r}")
        self._write()

    def _set_threads(self, count: int) -> None:
        from executorch.extension.pybindings import portable_lib

        portable_lib._unsafe_reset_threadpool(count)  # noqa: SLF001 - the only way to set them
        self._threads = portable_lib._threadpool_get_thread_count()  # noqa: SLF001

    def _pin(self, cpu: int) -> None:
        if cpu >= 0 and hasattr(os, "sched_setaffinity") and cpu in os.sched_getaffinity(0):
            os.sched_setaffinity(0, {cpu})
            self._pinned = cpu

    def _read(self, items: int, arrays: int) -> list[list[Any]]:
        """The inputs of each item, as tensors."""
        import torch

        columns = []
        for _ in range(arrays):
            _, dtype, item_bytes, path, *shape = next(self._lines)
            raw = bytearray(Path(path).read_bytes())
            if len(raw) != int(item_bytes) * items:
                raise Refusal(_BAD_INPUT, f"{path} has {len(raw)} bytes, expected {int(item_bytes) * items}")
            values = torch.frombuffer(raw, dtype=getattr(torch, dtype))
            columns.append(values.reshape(items, *(int(size) for size in shape)).unbind(0))
        return [list(row) for row in zip(*columns, strict=True)]

    def _load(self, program: dict[str, Any]) -> None:
        from executorch.runtime import Runtime

        path, name = program["path"], program["name"]
        try:
            start = time.perf_counter_ns()
            loaded = Runtime.get().load_program(Path(path))
            program["load_program_ns"] = time.perf_counter_ns() - start
        except RuntimeError as error:
            raise Refusal(_BAD_PROGRAM, f"cannot load program {path}: {_line(error)}") from None
        if name not in loaded.method_names:
            raise Refusal(_BAD_INPUT, f"program {path} has no method {name!r}; it has {sorted(loaded.method_names)}")
        try:
            start = time.perf_counter_ns()
            method = loaded.load_method(name)
            program["load_method_ns"] = time.perf_counter_ns() - start
        except RuntimeError as error:
            raise Refusal(_BAD_PROGRAM, f"cannot load method {name!r} of program {path}: {_line(error)}") from None
        # The public execute() sets inputs, runs and copies outputs in one; only its handle keeps them apart.
        program |= {"program": loaded, "owner": method, "method": method._method}  # noqa: SLF001

    def _execute(self, program: dict[str, Any], inputs: list[Any]) -> int:
        method = program["method"]
        if method is None:
            raise Refusal(_BAD_JOB, f"program {program['path']} is used before it is loaded")
        try:
            method.set_inputs(inputs)
        except RuntimeError as error:
            raise Refusal(_BAD_INPUT, f"cannot set the inputs of program {program['path']}: {_line(error)}") from None
        try:
            start = time.perf_counter_ns()
            method.execute()
            return time.perf_counter_ns() - start
        except RuntimeError as error:
            raise Refusal(_NOT_RUN, f"cannot run program {program['path']}: {_line(error)}") from None

    def _interleave(self, numbers: list[int]) -> None:
        warmup_runs, warmup_ns, min_runs, min_ns, max_ns, block_ns, seed, count = numbers
        courses: list[tuple[dict[str, Any], Iterator[list[Any]]]] = []
        for _ in range(count):
            _, place, entry = next(self._lines)
            courses.append((self._programs[int(place)], _cycle(self._inputs[int(entry)])))
        for program, items in courses:
            if program["first_ns"] < 0:
                program["first_ns"] = self._execute(program, next(items))
            runs = warm = 0
            while (runs < warmup_runs or warm < warmup_ns) and warm < max_ns:
                warm += self._execute(program, next(items))
                runs += 1
        order = random.Random(seed)  # noqa: S311 - the order of blocks, nothing secret
        spent = [0] * count

        def done(at: int) -> bool:
            runs = len(courses[at][0]["samples"])
            return (runs >= min_runs and spent[at] >= min_ns) or spent[at] >= max_ns

        while waiting := [at for at in range(count) if not done(at)]:
            order.shuffle(waiting)
            for at in waiting:
                program, items = courses[at]
                block = 0
                while not block or block < block_ns:
                    ns = self._execute(program, next(items))
                    program["samples"].append(ns)
                    block += ns
                spent[at] += block

    def _predict(self, place: int, items: list[list[Any]]) -> None:
        program = self._programs[place]
        rows = []
        for inputs in items:
            self._execute(program, inputs)
            rows.append([np.asarray(_numpy(output)) for output in program["method"].get_outputs()])
        for i, column in enumerate(zip(*rows, strict=True)):
            file = f"output-{place}-{i}.bin"
            np.stack(column).tofile(self._folder / file)
            dtype = str(program["method"].get_outputs()[i].dtype).removeprefix("torch.")
            program["outputs"].append({"dtype": dtype, "shape": list(column[0].shape), "file": file})

    def _write(self) -> None:
        told = []
        for i, program in enumerate(self._programs):
            file = f"samples-{i}.bin"
            np.array(program["samples"], dtype="<i8").tofile(self._folder / file)
            times = {name: program[name] for name in ("load_program_ns", "load_method_ns", "first_ns", "outputs")}
            told.append({"loaded": program["method"] is not None, **times, "samples": file, "runs": len(program["samples"])})
        result = {
            "version": JOB_VERSION,
            "threads": self._threads,
            "pinned": self._pinned,
            "programs": told,
            "memory": self._memory,
        }
        (self._folder / RESULT_FILE).write_text(json.dumps(result), encoding="utf-8")


def _program(method: str, path: str) -> dict[str, Any]:
    times = {"load_program_ns": 0, "load_method_ns": 0, "first_ns": -1}
    return {"name": method, "path": path, "method": None, "samples": [], "outputs": [], **times}


def _lines(folder: Path) -> Iterator[list[str]]:
    lines = [line.split("\t") for line in (folder / JOB_FILE).read_text(encoding="utf-8").splitlines()]
    if not lines or lines[0][0] != "kdbench-job":
        raise Refusal(_BAD_JOB, "this is not a job of kdbench")
    if lines[0][1:] != [str(JOB_VERSION)]:
        raise Refusal(_BAD_JOB, f"job version {' '.join(lines[0][1:])}, this runner reads version {JOB_VERSION}")
    if lines[-1] != ["end", str(len(lines) - 1)]:
        raise Refusal(_BAD_JOB, f"the job ends after line {len(lines)}")
    return iter(lines[1:-1])


def _cycle(items: list[list[Any]]) -> Iterator[list[Any]]:
    while True:
        yield from items


def _numpy(tensor: Any) -> Any:
    import torch

    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _peak_rss_bytes() -> int:
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(folder: str) -> int:
    """Run the job in ``folder``; the exit code."""
    try:
        Runner(Path(folder)).run()
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return refusal.code
    except MemoryError:
        sys.stderr.write("out of memory\n")
        return _NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
