"""What ExecuTorch's ``executor_runner`` logs: of each program how long it took to load, and every iteration.

Its ``examples/portable/executor_runner/executor_runner.cpp`` says, of one program in one process,

    Resetting threadpool with num threads = 1
    Model file programs/kd.pte is loaded.
    Model loaded in 1.234567 ms.
    Iteration 1 of 60: 0.123456 ms
    Model executed successfully 60 time(s) in 7.407360 ms.

where the third and fourth came with ExecuTorch 1.3 and the first needs a thread pool. It times execute() alone, the
first inference and the warm-up too. Before each message stands what the platform puts there (in
``runtime/platform/default``): on a terminal (``posix.cpp``) the level, the time since it began and the source,
``I 00:00:00.001544 executorch:executor_runner.cpp:LINE] ``;
on Android (``android.cpp``) the tag ExecuTorch as ``adb logcat`` prints it (Android's ``liblog/logprint.cpp``),
``11-27 10:00:00.123  4913  4913 I ExecuTorch: `` or, by ``-v time`` or ``brief``, ``I/ExecuTorch( 4913): ``. What a
check says that fails has the level F, and ends the process (``runtime/platform/assert.h``, ``abort.cpp``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kdbench.errors import UsageError
from kdbench.lab.reading import NO_SAMPLES, Reading, Told
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

READER = "executor_runner's log"
RUNTIME = "ExecuTorch's executor_runner"

WITH_WARM_UP = "with-warm-up"
"""The flag of a mean in which the first inferences are counted, as before ExecuTorch 1.3."""

_PREFIXES = (
    re.compile(r"(?P<level>[DIEF?]) \d\d+:\d\d:\d\d\.\d{6} executorch:[^\]\n]+:\d+\] (?P<message>.*)"),
    re.compile(r" (?P<process>\d+) +\d+ (?P<level>[VDIWEF]) ExecuTorch *: (?P<message>.*)"),
    re.compile(r"(?P<level>[VDIWEF])/ExecuTorch *\( *(?P<process>\d+)\): (?P<message>.*)"),
)
_MESSAGE = re.compile(
    r"Resetting threadpool with num threads = (?P<threads>\d+)"
    r"|Model file (?P<loaded>.+) is loaded\."
    r"|Failed to parse model file (?P<unread>.+)"
    r"|Model loaded in (?P<load_ms>\d+\.\d+) ms\."
    r"|Iteration (?P<place>\d+) of \d+: (?P<iteration_ms>\d+\.\d+) ms"
    r"|Model executed successfully (?P<times>\d+) time\(s\) in (?P<total_ms>\d+\.\d+) ms\."
)
_BEGINNINGS = (
    "Resetting threadpool with ",
    "Model file ",
    "Failed to parse model file ",
    "Model loaded in ",
    "Iteration ",
    "Model executed successfully",
)
_FATAL = "F"
_MOST_MS = 1e9
_LOST = "lines are missing (adb logcat -G 16M makes room for more): {!r} has {} iterations"


def is_log(text: str) -> bool:
    """Whether a text looks like a log of ExecuTorch's."""
    return any(prefix.search(text) for prefix in _PREFIXES)


def read_executor_runner(text: str, path: Path) -> Told:
    """The readings of a log: one a run, each in a process of its own, with all iterations as samples.

    Runs that tell no iterations have the mean of their total. One that ended in a check has failed.

    Raises:
        UsageError: a line is cut off or missing, a run has no program or no end, a time is none, or nothing ran.
    """
    runs = _Runs(path)
    for number, line in enumerate(text.splitlines(), 1):
        if found := next(filter(None, (prefix.search(line) for prefix in _PREFIXES)), None):
            process = found.groupdict().get("process", "")
            runs.take(process, found["level"], found["message"], number)
    return Told(path, file_sha256(path), READER, RUNTIME, {}, runs.readings())


@dataclass(slots=True)
class _Run:
    """A run that goes on: of which program, since which line, and what was told of it."""

    stem: str
    line: int
    threads: int
    load_ms: float | None = None
    iterations_ms: list[float] = field(default_factory=list)


class _Runs:
    """The runs of a log, by the process that logcat tells; a terminal has them one after another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads: dict[str, int] = {}
        self._going: dict[str, _Run] = {}
        self._ended: list[Reading] = []

    def readings(self) -> tuple[Reading, ...]:
        """Those of all runs, none of which still goes on."""
        for process in self._going:
            self._refuse_going(process)
        if not self._ended:
            raise UsageError(
                f"{self._path} holds no run of executor_runner: none of its lines says that a model file is loaded"
            )
        return tuple(self._ended)

    def take(self, process: str, level: str, message: str, number: int) -> None:
        """One message more, which stands on the line ``number``; most of them are of no use."""
        where = f"{self._path} line {number}"
        if found := _MESSAGE.fullmatch(message):
            self._known(process, found, number, where)
        elif message.startswith(_BEGINNINGS):
            raise UsageError(f"{where} is cut off or is no line of executor_runner's: {message!r}")
        elif level == _FATAL:
            self._run(process, where)
            self._end(process, failed=message.partition("): ")[2] or message)

    def _known(self, process: str, found: re.Match[str], number: int, where: str) -> None:
        match found.lastgroup:
            case "threads":
                self._threads[process] = int(found["threads"])
            case "loaded":
                self._begin(process, found["loaded"], number)
            case "unread":
                self._begin(process, found["unread"], number)
                self._end(process, failed=found[0])
            case "load_ms":
                self._run(process, where).load_ms = _time(found["load_ms"], where)
            case "iteration_ms":
                run = self._run(process, where)
                if int(found["place"]) != len(run.iterations_ms) + 1:
                    raise UsageError(f"{where}: {_LOST.format(run.stem, len(run.iterations_ms))} before this one")
                run.iterations_ms.append(_time(found["iteration_ms"], where))
            case _:
                self._finish(process, int(found["times"]), _time(found["total_ms"], where), where)

    def _begin(self, process: str, file: str, number: int) -> None:
        self._refuse_going(process)
        stem = re.split(r"[/\\]", file)[-1].removesuffix(".pte")
        self._going[process] = _Run(stem, number, self._threads.pop(process, 0))

    def _finish(self, process: str, times: int, total_ms: float, where: str) -> None:
        """The end of a run: with its iterations, else with the mean of all."""
        run = self._run(process, where)
        told = run.iterations_ms
        if told and len(told) != times:
            raise UsageError(f"{where}: {_LOST.format(run.stem, len(told))} of {times}")
        if told:
            samples = np.maximum(np.rint(np.array(told) * 1e6), 1).astype(np.int64)
            self._end(process, samples=samples, cold=True, first_ms=told[0], load_ms=run.load_ms)
        elif times > 1:
            self._end(process, mean_ms=total_ms / times, load_ms=run.load_ms, flags=(NO_SAMPLES, WITH_WARM_UP))
        else:
            raise UsageError(
                f"{where}: {run.stem!r} ran {times} time(s), which is no mean; --num_executions asks for more"
            )

    def _end(self, process: str, **told: Any) -> None:
        """What was told of a run; no two readings are of one process."""
        run = self._going.pop(process)
        self._ended.append(Reading(stem=run.stem, threads=run.threads, process=len(self._ended), **told))

    def _run(self, process: str, where: str) -> _Run:
        if process not in self._going:
            raise UsageError(f"{where} is of no run: no line before it names a program")
        return self._going[process]

    def _refuse_going(self, process: str) -> None:
        if run := self._going.get(process):
            raise UsageError(
                f"{self._path} line {run.line}: the run of {run.stem!r} that begins here has no end; take a whole log, "
                "or tell it as failed in measured.json"
            )


def _time(text: str, where: str) -> float:
    """A time in ms."""
    if not 0 < float(text) < _MOST_MS:
        raise UsageError(f"{where}: {float(text):g} ms is no time")
    return float(text)
