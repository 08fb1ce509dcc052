"""Histories: one figure of one case over the runs of the results folder, and where it moved.

Exact facts move or they do not: each step is told. Figures that scatter (quality over seeds, times) are cut into levels
by PELT: R. Killick, P. Fearnhead and I. A. Eckley, "Optimal detection of changepoints with a linear computational
cost", JASA 107 (2012), with the cost of a changed mean and ``PENALTY`` * s^2 * ln(n) a change, where s is how far
neighbours differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

from kdbench.cases import matching
from kdbench.errors import UsageError
from kdbench.likeness import apart
from kdbench.measures.metric import METRICS
from kdbench.records import read_run
from kdbench.results import stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kdbench.records import Record, Run

DEFAULT_METRICS = ("accuracy", "size_bytes", "arena_bytes", "latency_ms")

PENALTY = 5.0
"""Of a change point, in s^2 * ln(n).

Chosen by simulation of normal series that do not move: 6 % of those of 6 to 10 runs are cut, 1 % from 20 runs on (BIC's
3 cuts 15 % and 5 %). A step of 5 s in the middle is found 84 times of 100 in 6 runs and always in 20, one of 3 s 49 and
88 times.
"""

LEAST = 6
"""From how many points on a figure that scatters is cut into levels."""

NEIGHBOURS = 2
"""How many points a level has at least."""

METHOD = f"PELT (ruptures), changed mean, penalty {PENALTY:g} s^2 ln(n), at least {NEIGHBOURS} runs a level"

_SCATTER = frozenset(
    {
        "accuracy",
        "accuracy_eager",
        "accuracy_drop",
        "flips",
        "agreement",
        "agreement_teacher_wrong",
        "kl_teacher",
        "ece",
    }
)
_LEAST_SCATTER = 0.002
"""Of a time, as a share of it: nothing is timed better than that."""

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of one run, the mean over its seeds."""

    run: str
    commit: str
    value: float


@dataclass(frozen=True, slots=True)
class Move:
    """Where a series went from one level to another: the first point of the new one and the point before it."""

    before: Point
    after: Point
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of a case, the mean of ``seeds``, in the order of the runs; ``place``: the machine, if that matters."""

    case: str
    metric: str
    place: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]

    @property
    def values(self) -> list[float]:
        """The figures alone."""
        return [point.value for point in self.points]

    @property
    def exact(self) -> bool:
        """Whether the figure moves only if something changed it."""
        return METRICS[self.metric].tier != "host" and self.metric not in _SCATTER


def history(suite: str, results: Path, metrics: Sequence[str], case: str = "") -> list[Series]:
    """The series of a suite's runs, kept or not, the oldest first; ``case``: parts of the cases that are wanted.

    Runs of another version or protocol of the suite than the newest are left out. Other seeds are another series, and
    so is a figure of the host tier on another machine, device or number of threads.

    Raises:
        UsageError: an unknown metric, no run of that suite, or no such case.
    """
    for metric in metrics:
        if metric not in METRICS:
            from kdbench.catalog import suggestion

            raise UsageError(f"unknown metric {metric!r}; {suggestion(metric, list(METRICS))}")
    runs = _runs(suite, results)
    found: dict[tuple[str, str, str, tuple[int, ...]], list[Point]] = {}
    for run in runs:
        groups: dict[str, list[Record]] = {}
        for record in run.records:
            groups.setdefault(f"{record.pair}/{record.method}/{record.target}/{record.device}", []).append(record)
        for name, records in groups.items():
            for metric in metrics:
                values = {r.seed: value for r in records if (value := r.metrics.get(metric)) is not None}
                if values:
                    point = Point(run.id, run.provenance.commit, math.fsum(values.values()) / len(values))
                    place = _place(run, records[0], metric)
                    found.setdefault((name, metric, place, tuple(values)), []).append(point)
    known = list(dict.fromkeys(name for name, *_ in found))
    wanted = set(matching(case, known) if case else known)
    if not wanted:
        raise UsageError(f"no case {case!r} with {' or '.join(metrics)} in the runs of suite {suite!r} in {results}")
    series = [Series(*key, tuple(points)) for key, points in found.items() if key[0] in wanted]
    return sorted(series, key=lambda each: known.index(each.case))


def can_cut() -> bool:
    """Whether the library is there that cuts figures that scatter into levels (the extra ``history``)."""
    return find_spec("ruptures") is not None


def moves(series: Series) -> list[Move]:
    """Where the series moved; of a figure that scatters nothing below ``LEAST`` points or without ``can_cut``."""
    values = series.values
    if series.exact:
        starts = [place for place in range(1, len(values)) if not math.isclose(values[place], values[place - 1])]
    elif len(values) < LEAST or not can_cut():
        return []
    else:
        starts = _cut(values, _scatter(series))
    ends = [0, *starts, len(values)]
    levels = [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    return [
        Move(series.points[start - 1], series.points[start], levels[place], levels[place + 1])
        for place, start in enumerate(starts)
    ]


def spark(values: Sequence[float]) -> str:
    """A bar a value, from the lowest to the highest; one height where all are equal."""
    low, high = min(values), max(values)
    if low == high:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def _runs(suite: str, results: Path) -> list[Run]:
    runs: dict[str, Run] = {}
    for place in stored(results):
        if place.suite == suite:
            try:
                run = read_run(place.folder)
            except UsageError:
                continue  # `kdbench results list` shows it as unreadable
            runs.setdefault(run.id, run)
    if not runs:
        known = sorted({place.suite for place in stored(results)})
        raise UsageError(f"no run of suite {suite!r} in {results}; it holds runs of {', '.join(known) or 'none'}")
    ordered = sorted(runs.values(), key=lambda run: run.provenance.finished)
    return [run for run in ordered if not apart(run.suite, ordered[-1].suite)]


def _place(run: Run, record: Record, metric: str) -> str:
    """Where a figure that depends on it was measured: the device's own machine, where it has one, and the threads."""
    if METRICS[metric].tier != "host":
        return ""
    machine = {**run.provenance.machine.model_dump(), **record.machine}
    threads = sorted({speed.threads for speed in run.speeds})
    return f"{machine['slug']} {machine['fingerprint'][:6]}, {'/'.join(map(str, threads)) or '?'} threads"


def _scatter(series: Series) -> float:
    """How far neighbours differ: the median of absolute differences as a normal's deviation, and never next to none."""
    values = series.values
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    middle = len(steps) // 2
    median = steps[middle] if len(steps) % 2 else (steps[middle - 1] + steps[middle]) / 2
    deviation = median / (0.6745 * math.sqrt(2))
    least = _LEAST_SCATTER * abs(math.fsum(values) / len(values)) if METRICS[series.metric].tier == "host" else 1e-9
    return max(deviation, least)


def _cut(values: Sequence[float], scatter: float) -> list[int]:
    import numpy as np
    import ruptures

    signal = np.asarray(values, dtype=np.float64)[:, None] / scatter
    found = ruptures.Pelt(model="l2", min_size=NEIGHBOURS, jump=1).fit(signal)
    places: list[int] = found.predict(pen=PENALTY * math.log(len(values)))
    return places[:-1]
