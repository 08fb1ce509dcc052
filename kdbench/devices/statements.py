"""The statements of a job as the Python runner reads them: what ``runner/job.h`` does, refused in the same words."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.devices.wire import JOB_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_JOB, BAD_INPUT, BAD_PROGRAM, NO_MEMORY, NOT_RUN, NOT_WRITTEN = 10, 11, 12, 13, 14, 15
"""Exit codes of a runner; ``wire.STATUS`` gives each its status."""

DTYPE_BYTES = {
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "bool": 1,
    "bfloat16": 2,
}

_MOST = 2**63 - 1
_MOST_SIZE = 2**31 - 1
_MOST_THREADS, _MOST_CPU = 1024, 1023


class Refusal(Exception):  # noqa: N818 - it is what the runner answers, not a defect of its own
    """One line and the exit code that goes with it."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


@dataclass(frozen=True, slots=True)
class Array:
    """One input's items: ``content`` holds them one after another, little endian, each ``shape`` in C order."""

    dtype: str
    shape: tuple[int, ...]
    content: bytearray


@dataclass(frozen=True, slots=True)
class Entry:
    """An input of the job: how many items, and an array for each input of the method."""

    items: int
    arrays: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class LoadStep:
    """Load a program and its method."""

    program: int


@dataclass(frozen=True, slots=True)
class PredictStep:
    """Run every item of an input once and keep the outputs."""

    program: int
    entry: int


@dataclass(frozen=True, slots=True)
class MemoryStep:
    """Read the peak of the process."""

    index: str


@dataclass(frozen=True, slots=True)
class InterleaveStep:
    """Time the programs of ``timed`` (program, input) in blocks; see ``kdbench.devices.job.Interleave``."""

    timed: tuple[tuple[int, int], ...]
    seed: int
    warmup_runs: int
    warmup_ns: int
    min_runs: int
    min_ns: int
    max_ns: int
    block_ns: int


@dataclass(frozen=True, slots=True)
class PaceStep:
    """Run a program at due times; see ``kdbench.devices.job.Pace``."""

    program: int
    entry: int
    period_ns: int
    runs: int
    max_ns: int


@dataclass(slots=True)
class Statements:
    """A whole job: ``programs`` are (method, path)."""

    threads: int = 1
    cpu: int = -1
    programs: list[tuple[str, str]] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    steps: list[LoadStep | PredictStep | MemoryStep | PaceStep | InterleaveStep] = field(default_factory=list)


def read_job(path: Path) -> Statements:
    """The job in a file.

    Raises:
        Refusal: it is none; the line says where and why.
    """
    return _Reader(path).job()


class _Reader:
    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            raise Refusal(BAD_JOB, f"cannot read {path}") from None
        lines = text.split("\n")
        self._lines = iter(lines[:-1] if not lines[-1] else lines)
        self._count = 0
        self._job = Statements()

    def job(self) -> Statements:
        head = self._next()
        if head[0] != "kdbench-job":
            self._fail("this is not a job of kdbench")
        self._need(head, 2)
        if head[1] != str(JOB_VERSION):
            self._fail(f"job version {head[1]}, this runner reads version {JOB_VERSION}")
        while (words := self._next())[0] != "end":
            self._statement(words)
        self._need(words, 2)
        if self._number(words[1]) != self._count - 1:
            self._fail(f"the job says that it has {words[1]} lines")
        return self._job

    def _statement(self, words: list[str]) -> None:
        sizes = {
            "threads": 2,
            "cpu": 2,
            "program": 3,
            "input": 3,
            "load": 2,
            "predict": 3,
            "pace": 6,
            "memory": 2,
            "interleave": 9,
        }
        if words[0] not in sizes:
            self._fail(f"unknown statement '{words[0]}'")
        self._need(words, sizes[words[0]])
        job = self._job
        match words:
            case ["threads", count]:
                job.threads = self._number(count, _MOST_THREADS)
                if job.threads == 0:
                    self._fail("a job needs at least one thread")
            case ["cpu", cpu]:
                job.cpu = -1 if cpu == "-1" else self._number(cpu, _MOST_CPU)
            case ["program", method, path]:
                job.programs.append((method, path))
            case ["input", items, arrays]:
                job.inputs.append(self._entry(self._number(items), self._number(arrays)))
            case ["load", program]:
                job.steps.append(LoadStep(self._program(program)))
            case ["predict" | "pace", program, entry, *limits]:
                job.steps.append(self._fed(program, entry, limits))
            case ["memory", index]:
                job.steps.append(MemoryStep(str(self._number(index))))
            case _:
                job.steps.append(self._interleave(words))

    def _fed(self, program: str, entry: str, limits: list[str]) -> PredictStep | PaceStep:
        place, numbers = (self._program(program), self._input(entry)), map(self._number, limits)
        step, done = (PaceStep(*place, *numbers), "paced") if limits else (PredictStep(*place), "predicted")
        if any(isinstance(other, type(step)) and other.program == step.program for other in self._job.steps):
            self._fail(f"program {program} is {done} twice")
        return step

    def _entry(self, items: int, arrays: int) -> Entry:
        if items == 0:
            self._fail("an input needs at least one item")
        return Entry(items, tuple(self._arrays(items, arrays)))

    def _arrays(self, items: int, arrays: int) -> Iterator[Array]:
        for _ in range(arrays):
            words = self._next("array", 4, more=True)
            _, dtype, item_bytes, path, *sizes = words
            if dtype not in DTYPE_BYTES:
                self._fail(f"unknown dtype '{dtype}'")
            given = self._number(item_bytes)
            shape = tuple(self._number(size, _MOST_SIZE) for size in sizes)
            expected = DTYPE_BYTES[dtype] * prod(shape)
            if expected * items > _MOST:
                self._fail(f"{dtype} {list(shape)} is too large")
            if expected != given:
                self._fail(f"{dtype} {list(shape)} takes {expected} bytes, found {item_bytes}")
            yield Array(dtype, shape, _content(Path(path), expected * items))

    def _interleave(self, words: list[str]) -> InterleaveStep:
        *numbers, seed, count = (self._number(word) for word in words[1:])
        timed: list[tuple[int, int]] = []
        for _ in range(count):
            line = self._next("time", 3)
            pair = self._program(line[1]), self._input(line[2])
            if any(pair[0] == program for program, _ in timed):
                self._fail(f"program {line[1]} is timed twice")
            timed.append(pair)
        return InterleaveStep(tuple(timed), seed, *numbers)

    def _next(self, expected: str = "", size: int = 0, *, more: bool = False) -> list[str]:
        line = next(self._lines, None)
        if line is None:
            raise Refusal(BAD_JOB, f"the job ends after line {self._count}")
        self._count += 1
        words = line.split("\t")
        if expected and words[0] != expected:
            self._fail(f"expected '{expected}', found '{words[0]}'")
        if expected and (len(words) < size if more else len(words) != size):
            wanted = f"{size} or more" if more else str(size)
            self._fail(f"'{expected}' has {len(words)} fields, expected {wanted}")
        return words

    def _need(self, words: list[str], size: int) -> None:
        if len(words) != size:
            self._fail(f"'{words[0]}' has {len(words)} fields, expected {size}")

    def _number(self, word: str, most: int = _MOST) -> int:
        digits = word.isascii() and word.isdigit() and len(word) <= len(str(_MOST))
        if not digits or int(word) > most:
            self._fail(f"expected a whole number up to {most}, found '{word}'")
        return int(word)

    def _program(self, word: str) -> int:
        return self._place(word, len(self._job.programs), "program")

    def _input(self, word: str) -> int:
        return self._place(word, len(self._job.inputs), "input")

    def _place(self, word: str, size: int, what: str) -> int:
        place = self._number(word)
        if place >= size:
            self._fail(f"there is no {what} {word}")
        return place

    def _fail(self, why: str) -> None:
        raise Refusal(BAD_JOB, f"line {self._count} of the job: {why}")


def _content(path: Path, expected: int) -> bytearray:
    try:
        found = path.stat().st_size
        if found != expected:
            raise Refusal(BAD_INPUT, f"{path} has {found} bytes, expected {expected}")
        content = bytearray(expected)
        with path.open("rb") as file:
            read = file.readinto(content)
    except OSError:
        raise Refusal(BAD_INPUT, f"cannot read {path}") from None
    if read != expected:
        raise Refusal(BAD_INPUT, f"cannot read {path}")
    return content
