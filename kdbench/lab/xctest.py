"""What XCTest prints of a performance test: every value of each metric, on one line of its log.

Such a line (of ``xcodebuild test`` or ``swift test``) reads

    ...: Test Case '-[Module.Class test_name]' measured [Clock Monotonic Time, s] average: 0.002, relative standard
    deviation: 3.1%, values: [0.0021, ...], performanceMetricID:com.apple.dt.XCTMetric_Clock.time.monotonic, ...

ExecuTorch's app for Apple devices (``extension/benchmark/apple``, ``ResourceTestCase.m`` and ``GenericTests.mm``) calls
its tests ``load_`` and ``forward_``, and then the program's file with an underscore for each mark.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from kdbench.errors import UsageError
from kdbench.lab.reading import Reading, Told
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

READER = "XCTest's log"
RUNTIME = "XCTest"

COARSE, COARSE_BELOW = "coarse-clock", 1e-4
"""The flag of a program so fast (s) that the microsecond, to which values are printed, is more than a hundredth."""

MARK = " measured ["
CLOCKS = ("Clock Monotonic Time, s", "Time, seconds")
_BESIDE = ("Memory Peak Physical, kB", "Memory Physical, kB")

_CASE = r"Test Case '(?:-\[)?(?P<case>[^'\]]*?)[ .](?P<test>\w+)\]?'"
_LINE = re.compile(
    _CASE + r" measured \[(?P<metric>[^\]]+)\] average: [^,]*, relative standard deviation: [^,]*, "
    r"values: \[(?P<values>[^\]]*)\]"
)
_FAILED = re.compile(_CASE + r" failed \(")
_NAMED = re.compile(r"(?:test_?)?(?P<what>forward|load)_(?P<stem>\w+?)(?:_pte)?")


def is_log(text: str) -> bool:
    """Whether a text looks like a log of XCTest's."""
    return MARK in text or "Test Case '" in text


def read_xctest(text: str, path: Path) -> Told:
    """The readings of a log: the clock's values of ``forward_`` tests are samples, those of ``load_`` load times.

    Raises:
        UsageError: a line is cut off, has no values, or one that is no time; or nothing of use was measured.
    """
    readings: list[Reading] = []
    left: dict[str, None] = {}
    seen: set[str] = set()
    repeats: dict[tuple[str, str, str], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        failed = _FAILED.search(line)
        if failed and (named := _NAMED.fullmatch(failed["test"])):
            readings.append(Reading(stem=named["stem"], failed=f"its test {failed['test']} failed"))
        if MARK not in line or line in seen:
            continue
        seen.add(line)
        found = _LINE.search(line)
        if found is None:
            raise UsageError(f"{path} line {number} is cut off or is no measurement of XCTest's")
        test, metric = found["test"], found["metric"]
        values = _values(found["values"], f"{path} line {number}")
        named = _NAMED.fullmatch(test)
        if named is None:
            left.setdefault(f"test {test}: it is not called forward_PROGRAM or load_PROGRAM")
            continue
        what, stem = named["what"], named["stem"]
        process = repeats[what, stem, metric] = repeats.get((what, stem, metric), -1) + 1
        reading = _reading(what, stem, metric, values, process, f"{path} line {number}")
        if reading is None:
            left.setdefault(f"[{metric}]: kdbench has no such figure")
        else:
            readings.append(reading)
    if not readings:
        raise UsageError(f"{path} holds no measurement of a program; {', '.join(left) or 'it may be cut off'}")
    return Told(path, file_sha256(path), READER, RUNTIME, {}, tuple(readings), left=tuple(left))


def _reading(what: str, stem: str, metric: str, values: list[float], process: int, where: str) -> Reading | None:
    if metric in _BESIDE:
        return Reading(stem=stem, process=process, details={f"{what}: {metric}": float(np.median(values))})
    if metric not in CLOCKS:
        return None
    if min(values) <= 0:
        raise UsageError(f"{where}: {min(values):g} s is no time, or one below the microsecond that is printed")
    if what == "load":
        return Reading(stem=stem, process=process, load_ms=float(np.median(values)) * 1e3)
    flags = (COARSE,) if np.median(values) < COARSE_BELOW else ()
    return Reading(stem=stem, process=process, samples=_nanoseconds(values), flags=flags)


def _nanoseconds(seconds: list[float]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.maximum(np.rint(np.array(seconds) * 1e9), 1).astype(np.int64)


def _values(text: str, where: str) -> list[float]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise UsageError(f"{where}: its values are no numbers") from None
    if not values:
        raise UsageError(f"{where} has no values")
    if not all(math.isfinite(value) and value < 1e6 for value in values):
        raise UsageError(f"{where}: one of its values is no time")
    return values
